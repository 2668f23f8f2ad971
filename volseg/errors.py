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
