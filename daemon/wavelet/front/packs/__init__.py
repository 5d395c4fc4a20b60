"""The door of packs: their documents, for `wave.containerConfigUrl`, and their layers."""
