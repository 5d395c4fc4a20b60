"""TODO."""

from wavelet.config import Settings


async def demo(settings: Settings, *, once: bool) -> None: ...
