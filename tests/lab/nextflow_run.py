"""stub"""
import os
from pathlib import Path
def home() -> Path:
    return Path(os.environ.get("WAVELET_NEXTFLOW_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()/"wavelet/nextflow")
