"""The one tree of errors. Every error says whose fault it is, what happened and what to do.

    WaveletError
    ├── CallerError            4xx: the request has to change
    │   ├── InvalidRequest     400  a field is wrong (it is named)
    │   │   └── InvalidDigest  400  a digest is not one
    │   ├── InvalidName        400  an image or repository name is wrong
    │   ├── DigestMismatch     400  bytes that the request names are not what it says they are
    │   ├── Unsolvable         400  no set of packages satisfies the request; the solver says why
    │   ├── ScriptFailed       400  a package's post-link script does not do its part
    │   ├── ManifestInvalid    400  what is pushed is no manifest
    │   ├── MethodRefused      405
    │   ├── TooLarge           413
    │   ├── RangeInvalid       416
    │   ├── ChunkMisplaced     416  a piece of an upload does not begin where the last one ended
    │   ├── NotFound           404
    │   │   ├── ImageNotFound       the upstream registry has no such image
    │   │   ├── BlobNotFound        the name does not contain such a blob
    │   │   ├── UploadNotFound      no upload has this id, or it has ended
    │   │   └── TokenNotFound       no container request has this token
    │   ├── AccessRefused      403  this caller may not read it
    │   ├── ForeignRequest     421  a Host that is not ours, or a browser's Origin
    │   └── NotServed          501  part of the protocol, not of this version
    │       └── NewerForm      501  kept by a newer wavelet, in a form that this one cannot read
    ├── UpstreamError          a registry or URL that wavelet asks
    │   ├── UpstreamUnreachable 502  it does not answer
    │   ├── UpstreamBusy        503  it answers "not now" (429, 503)
    │   └── UpstreamBroken      502  it answers something that cannot be right
    └── OurError               wavelet itself
        ├── NoSpace            507  the store's limit or the disk is reached
        │   └── NeverFits      507  it is larger than the store may be
        ├── DirectoryUnavailable 503 what nodes share cannot be used now; asking again is right once it can
        ├── DamagedBinding     500  it cannot be read any more what a name answers; no other name is touched
        ├── EngineFailed       500  a container engine that is there does not do its part
        ├── NotStarted         500  no daemon of this user runs, or what is in its place cannot be trusted
        ├── WaitExpired        503  a bounded wait ended first; asking again is right
        ├── Stopping           503  wavelet is being stopped; asking again is right once it runs again
        └── Internal           500  a defect; its id is in the log

The room holds values only and imports nothing of wavelet.
"""

from __future__ import annotations

import copy
import enum
from typing import ClassVar, Self, TypeVar

E = TypeVar("E", bound=BaseException)


class Fault(enum.Enum):
    """Who has to act to make an error go away."""

    CALLER = "caller"
    UPSTREAM = "upstream"
    OURS = "wavelet"


class WaveletError(Exception):
    """Base of all errors.

    Attributes:
        reason: what programs know it by (`ErrorInfo.reason`, rows of the history); it stays when the class is renamed.
        fault: whose fault it is.
        status: the HTTP status that answers it, on every door.
        code: the error code of the distribution-spec's error body, for `/v2` answers.
        negative_ttl: for how long (seconds) a failed job answers with it without a new attempt.
        field: the request's member at fault, where there is one.
        retry_after: seconds after which asking again makes sense, where that is known.
        passing: whether the same question may soon have another answer with nobody doing anything about it; a definite
            no (a refused connection, a wrong digest) is not mended by waiting.
        cached_until: until when (`time.monotonic`) jobs answer with it; 0.0 before one has failed with it.
    """

    reason: ClassVar[str] = "WAVELET_ERROR"
    fault: ClassVar[Fault] = Fault.OURS
    status: ClassVar[int] = 500
    code: ClassVar[str] = "UNKNOWN"
    negative_ttl: ClassVar[float] = 0.0
    passing: bool = False

    def __init__(self, message: str, *, field: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.retry_after = retry_after
        self.cached_until = 0.0

    def with_message(self, message: str, *, field: str | None = None) -> Self:
        """Return the same error in other words, and of `field` if that is given; all else that it says stays."""
        said = copy.copy(self)
        said.message = message
        said.args = (message,)
        said.field = self.field if field is None else field
        return said


class CallerError(WaveletError):
    """The request cannot be answered as it stands."""

    reason = "CALLER_ERROR"
    fault = Fault.CALLER
    status = 400
    code = "UNSUPPORTED"
    negative_ttl = 60.0


class InvalidRequest(CallerError):
    """A member of a request is missing, of the wrong type, or contradicts another."""

    reason = "INVALID_REQUEST"


class InvalidDigest(InvalidRequest):
    """A digest does not follow the grammar, or is of an algorithm that is not known."""

    reason = "INVALID_DIGEST"
    code = "DIGEST_INVALID"


class InvalidName(CallerError):
    """An image reference or repository name does not follow the grammar."""

    reason = "INVALID_NAME"
    code = "NAME_INVALID"


class DigestMismatch(CallerError):
    """Bytes that a request names do not have the digest or size it says."""

    reason = "DIGEST_MISMATCH"
    code = "DIGEST_INVALID"


class Unsolvable(CallerError):
    """No set of packages satisfies the specs. The message ends with the solver's own explanation, which has lines."""

    reason = "UNSOLVABLE"
    code = "MANIFEST_UNKNOWN"


class ScriptFailed(CallerError):
    """A package's post-link script fails, or wants what it cannot have: it takes another package, or version."""

    reason = "SCRIPT_FAILED"
    code = "MANIFEST_UNKNOWN"


class ManifestInvalid(CallerError):
    """What is pushed as a manifest is none, or not of the type that is said."""

    reason = "MANIFEST_INVALID"
    code = "MANIFEST_INVALID"


class MethodRefused(CallerError):
    """A route that is there does not take this method."""

    reason = "METHOD_REFUSED"
    status = 405


class TooLarge(CallerError):
    """A body or a member is larger than what is accepted."""

    reason = "TOO_LARGE"
    status = 413
    code = "SIZE_INVALID"


class RangeInvalid(CallerError):
    """A Range begins behind the end of the content (RFC 9110, 14.1.2)."""

    reason = "RANGE_INVALID"
    status = 416
    code = "RANGE_INVALID"

    def __init__(self, size: int) -> None:
        super().__init__(f"the range starts behind the end of the content ({size} bytes)")
        self.size = size


class ChunkMisplaced(CallerError):
    """A piece of an upload does not begin where the last one ended (distribution-spec, "Pushing a blob in chunks")."""

    reason = "CHUNK_MISPLACED"
    status = 416
    code = "BLOB_UPLOAD_INVALID"


class NotFound(CallerError):
    """What is named does not exist."""

    reason = "NOT_FOUND"
    status = 404
    code = "NAME_UNKNOWN"


class ImageNotFound(NotFound):
    """The upstream registry has answered that it has no such image."""

    reason = "IMAGE_NOT_FOUND"
    code = "MANIFEST_UNKNOWN"


class BlobNotFound(NotFound):
    """No image that this name has answered contains the blob."""

    reason = "BLOB_NOT_FOUND"
    code = "BLOB_UNKNOWN"


class UploadNotFound(NotFound):
    """No upload has this id: it has ended, was cancelled or left alone, or the daemon was started again."""

    reason = "UPLOAD_NOT_FOUND"
    code = "BLOB_UPLOAD_UNKNOWN"


class TokenNotFound(NotFound):
    """No container request is known under this token."""

    reason = "TOKEN_NOT_FOUND"


class AccessRefused(CallerError):
    """The caller may not read this: the upstream refuses, or the name belongs to somebody else.

    Attributes:
        declined: the upstream's last word was 403, which registries also say when they do not want to answer now.
    """

    reason = "ACCESS_REFUSED"
    status = 403
    code = "DENIED"

    def __init__(self, message: str, *, field: str | None = None, declined: bool = False) -> None:
        super().__init__(message, field=field)
        self.declined = declined


class ForeignRequest(CallerError):
    """A request that a browser was led to make: a Host that is not this daemon's, or an Origin."""

    reason = "FOREIGN_REQUEST"
    status = 421
    code = "DENIED"


class NotServed(CallerError):
    """A part of the protocol that this version does not have."""

    reason = "NOT_SERVED"
    status = 501


class NewerForm(NotServed):
    """What a newer wavelet has kept, in a form that this one does not know. It is left as it is."""

    reason = "NEWER_FORM"


class UpstreamError(WaveletError):
    """A registry or another server that wavelet asks does not do its part."""

    reason = "UPSTREAM_ERROR"
    fault = Fault.UPSTREAM
    status = 502
    negative_ttl = 5.0
    passing = True


class UpstreamUnreachable(UpstreamError):
    """No connection, a connection that broke, or no answer in time."""

    reason = "UPSTREAM_UNREACHABLE"


class UpstreamBusy(UpstreamError):
    """The server says that it will not answer now (408, 429, 5xx)."""

    reason = "UPSTREAM_BUSY"
    status = 503
    code = "TOOMANYREQUESTS"


class UpstreamBroken(UpstreamError):
    """The server's answer cannot be right: wrong digest or size, not the protocol."""

    reason = "UPSTREAM_BROKEN"
    passing = False


class OurError(WaveletError):
    """Something in this daemon or its machine."""

    reason = "OUR_ERROR"
    passing = True


class NoSpace(OurError):
    """The content does not fit: everything in the store is in use, or the disk is full."""

    reason = "NO_SPACE"
    status = 507


class NeverFits(NoSpace):
    """Content alone is larger than the store may be."""

    reason = "NEVER_FITS"
    passing = False


class DirectoryUnavailable(OurError):
    """Where requests are kept is away, or cannot be read or written. What is in it is as it was."""

    reason = "DIRECTORY_UNAVAILABLE"
    status = 503
    code = "TOOMANYREQUESTS"


class DamagedBinding(OurError):
    """A name is bound to what cannot be read: nothing is answered under it any more, and nothing replaces that.

    Clients repeat a 5xx for minutes; this one is for good.
    """

    reason = "DAMAGED_BINDING"
    status = 404
    code = "NAME_UNKNOWN"
    passing = False


class EngineFailed(OurError):
    """A container engine that is there does not do its part; the message says which, and what it said."""

    reason = "ENGINE_FAILED"


class NotStarted(OurError):
    """A user's own daemon does not start, or its port or directory is somebody else's."""

    reason = "NOT_STARTED"


class WaitExpired(OurError):
    """A bounded wait ended before the work did; the work goes on."""

    reason = "WAIT_EXPIRED"
    status = 503
    code = "TOOMANYREQUESTS"


class Stopping(OurError):
    """wavelet is being stopped before it could answer."""

    reason = "STOPPING"
    status = 503
    code = "TOOMANYREQUESTS"
    passing = False

    def __init__(
        self,
        message: str = "wavelet is stopping; ask again",
        *,
        field: str | None = None,
        retry_after: float | None = 5.0,
    ) -> None:
        super().__init__(message, field=field, retry_after=retry_after)


class Internal(OurError):
    """A defect in wavelet. The message carries the id under which the log has the details."""

    reason = "INTERNAL"
    passing = False


def fresh_copy(error: E) -> E:
    """Return an error as an object of its own, to be raised to one of several who wait for the same thing.

    Raising an object adds to its traceback and its context. The copy begins with the traceback of where it happened.
    """
    try:
        anew = copy.copy(error)
    except TypeError:  # its class is not made of its arguments
        return error
    anew.args = error.args
    anew.__context__, anew.__cause__ = error.__context__, error.__cause__
    anew.__suppress_context__ = error.__suppress_context__
    return anew.with_traceback(error.__traceback__)


def bare_copy(error: E) -> E:
    """Return an error to be kept for a while: without traceback and causes, whose frames keep what was at work."""
    anew = fresh_copy(error)
    anew.__context__ = anew.__cause__ = None
    return anew.with_traceback(None)
