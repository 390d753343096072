"""A lock on an open file, which ends with the process."""

from __future__ import annotations

import sys

__all__ = ["lock_file"]

if sys.platform == "win32":
    import errno
    import msvcrt

    def lock_file(handle: int) -> None:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:  # EACCES and EDEADLOCK are another's lock
            if error.errno in (errno.EACCES, errno.EDEADLK):
                raise BlockingIOError(error.errno, error.strerror) from None
            raise

else:
    import fcntl

    def lock_file(handle: int) -> None:
        """Lock an open file for itself, without waiting. Closing the file gives the lock back.

        Parameters
        ----------
        handle : int
            Descriptor of the file, which is open for writing.

        Raises
        ------
        BlockingIOError
            If the file is locked by another process, or by another descriptor of this one.
        OSError
            If the file system has no locks.
        """
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
