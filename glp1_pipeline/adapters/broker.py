"""The embedded broker: kombu's queue of files, where a message is there whole or not at all.

Here: how a message gets into the folder and out of it. Not here: which broker is used (`settings`), the worker
(`defs.worker`). Named by its path in Celery's setting `broker_transport`: kombu finds it by itself.
"""

import logging
import os
from queue import Empty
from time import monotonic_ns
from uuid import uuid4

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps

_log = logging.getLogger(__name__)


class Channel(filesystem.Channel):
    """kombu's own makes an empty file and fills it: a worker that took it in between ended with its error, and the run
    was lost until Dagster's monitoring ended it."""

    def _put(self, queue, payload, **kwargs) -> None:
        place = os.path.join(self.data_folder_out, f"{monotonic_ns():020}_{uuid4()}.{queue}.msg")
        unready = f"{place}.part"  # a name that no queue's messages end in
        try:
            with open(unready, "wb") as file:
                file.write(dumps(payload).encode())
            os.replace(unready, place)
        except OSError as error:
            if os.path.exists(unready):
                os.unlink(unready)
            raise ChannelError(f"The broker's folder takes no message: {error.strerror}") from error

    def _get(self, queue):
        try:
            return super()._get(queue)
        except ValueError:
            # Half of a message is what a machine leaves that lost its power. Its run is ended by Dagster's monitoring.
            _log.exception("a message in the broker's folder cannot be read; it was put aside")
            raise Empty from None


class Transport(filesystem.Transport):
    """`filesystem://` with whole messages."""

    Channel = Channel
