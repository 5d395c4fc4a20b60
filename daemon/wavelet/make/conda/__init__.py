"""The makers of conda images: archive to layer, layers to image, and what an assembly alone cannot do.

Importing a module of this room costs little: libraries are imported where worker processes use them.
"""
