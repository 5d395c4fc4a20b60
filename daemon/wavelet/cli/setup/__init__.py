"""The parts of `wavelet setup`: a module for each engine, which plans; and one that writes what was planned."""
