"""The errors that volseg raises; each message says what was given, what was needed, what to do."""


class VolsegError(Exception):
    """Anything that volseg refuses; the command line prints it as one line."""


class GeometryError(VolsegError):
    """A size, spacing, affine or grid that does not fit."""


class DataError(VolsegError):
    """A file, folder or dataset that cannot be used as asked."""


class WeightsError(VolsegError):
    """A weights file that does not fit the network, or is not a weights file."""


class BundleError(VolsegError):
    """A bundle or a configuration value that cannot be used."""


class DeviceError(VolsegError):
    """A device that was asked for and is not there."""


def find_cause(error: BaseException) -> BaseException:
    """Find what volseg said, if another package has wrapped it into an error of its own.

    Args:
        error: What was raised.

    Returns:
        The first `VolsegError` among the error and its causes, or else the error itself.
    """
    cause: BaseException | None = error
    seen = set()
    while cause is not None and id(cause) not in seen:  # MONAI makes circles of causes
        if isinstance(cause, VolsegError):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return error
