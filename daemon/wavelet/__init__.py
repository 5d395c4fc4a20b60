"""wavelet, the node agent of Wave: container images on demand, served by the compute node itself.

The way of a request: a door (`front`) makes a plan of it (`plan`), the resolver (`resolve`) pins what moves (`pin`)
and makes the image (`make`) from what registries have (`upstream`) and what the node holds (`store`).
"""

__version__ = "0.2.0"
