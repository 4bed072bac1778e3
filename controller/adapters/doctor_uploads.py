"""The doctor's look at the ways in for images: the folder of uploads, and who is trusted to serve what is fetched.

The API writes uploads, as ``ggnet`` where it is installed; the controller reads them, and removes those in its pool.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from controller.adapters.finding import Finding
from controller.settings import Settings

_USER = "ggnet"
_RESERVED = 15  # per cent that no upload touches
_SUBJECT = "upload folder"


def examine(settings: Settings) -> Iterator[Finding]:
    """Reads only."""
    folder = settings.uploads
    if not folder.is_dir():
        made = settings.upload_dir is None
        remedy = "start the controller once, which makes it" if made else f"install -d -m 770 -g {_USER} {folder}"
        yield Finding(_SUBJECT, "warning", f"{folder} is not there", remedy)
    elif (refused := _refused(folder)) is not None:
        remedy = f"chgrp {_USER} {folder}; chmod 770 {folder}; ReadWritePaths= of ggnet-api has it"
        yield Finding(_SUBJECT, "error", f"{folder}: {refused} may not write there", remedy)
    else:
        yield _placed(folder, settings.pool)
        yield _space(folder)
    if settings.import_ca_file is not None:
        yield _authorities(settings.import_ca_file)


def _refused(folder: Path) -> str | None:
    """Who should be able to make files there and is not: the API's user, where there is one and it can be told."""
    needed = os.R_OK | os.W_OK | os.X_OK
    try:
        user = pwd.getpwnam(_USER)
    except KeyError:
        user = None
    if user is None or os.geteuid() != 0:
        return None if os.access(folder, needed) else pwd.getpwuid(os.geteuid()).pw_name
    found = folder.stat()
    if found.st_uid == user.pw_uid:
        allowed = stat.S_IMODE(found.st_mode) >> 6
    elif found.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        allowed = stat.S_IMODE(found.st_mode) >> 3
    else:
        allowed = stat.S_IMODE(found.st_mode)
    return None if allowed & needed == needed else user.pw_name


def _placed(folder: Path, pool: Path) -> Finding:
    """On the pool's file system an import can be a reflink; in the pool an upload is removed once it is imported."""
    if pool.is_dir() and folder.stat().st_dev != pool.stat().st_dev:
        said = f"{folder} is on another file system than the pool: each import is a copy, and uploads stay until discarded"
        return Finding(_SUBJECT, "warning", said, "unset GGNET_UPLOAD_DIR, unless boot servers share that folder")
    return Finding(_SUBJECT, "ok", str(folder))


def _space(folder: Path) -> Finding:
    usage = shutil.disk_usage(folder)
    free = 100 * usage.free // max(1, usage.total)
    told = f"{usage.free >> 30} GiB free, of which {_RESERVED} % of the disk are kept"
    if free > _RESERVED:
        return Finding("upload space", "ok", told)
    return Finding("upload space", "warning", f"{told}: none is taken", "make room: ggnet image uploads --all")


def _authorities(file: Path) -> Finding:
    import ssl

    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=file)
    except OSError as error:  # an SSLError is one, of what it holds
        why = "it holds no certificates in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        return Finding("import authorities", "error", f"{file}: {why}", "correct GGNET_IMPORT_CA_FILE, or unset it")
    return Finding("import authorities", "ok", f"{file}: {context.cert_store_stats()['x509']} beside the system's")
