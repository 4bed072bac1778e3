"""Which GGnet this is, as its installation says."""

from importlib import metadata


def version() -> str:
    try:
        return metadata.version("ggnet")
    except metadata.PackageNotFoundError:
        return "0+source"  # run from a checkout that was never installed
