"""The artifacts that are attached to an image which was made here, attached anew to another one made of it."""

from __future__ import annotations

import json

from wavelet.image.image import OCI_MANIFEST, Content, Descriptor, MadeBy
from wavelet.kinds.kind import Work


async def attached_anew(work: Work, content: Content, old: Descriptor, new: Descriptor) -> Content:
    """Return a member of a closure: what was made here with `old` as its subject has `new` instead.

    All else is returned as it is: what a registry has keeps its digest.
    """
    if content.descriptor.media_type != OCI_MANIFEST or not isinstance(content.source, MadeBy):
        return content
    document = json.loads(await work.read(content))
    if document.get("subject", {}).get("digest") != old.digest:
        return content
    data = json.dumps(document | {"subject": new.as_json()}, separators=(",", ":")).encode()
    return await work.keep(data, OCI_MANIFEST)
