"""RemoteMonitor: logs of each epoch, sent to a server."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from cdl._common.errors import warn
from cdl._common.validation import flag
from cdl.callbacks.callback import Callback, Logs


class RemoteMonitor(Callback):
    """Send the epoch number and logs to a server by HTTP POST.

    If the server cannot be reached there is a warning, and training goes on.

    Args:
        root: the server, `http://` or `https://`.
        path: where on it.
        field: the field of the form that holds the values as JSON.
        headers: further headers of the request, by name.
        send_as_json: whether the values are sent as JSON by themselves and not in a form.

    Raises:
        ValueError: root is no address of a server.
    """

    writes = True

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(root, str) or not root.startswith(("http://", "https://")):
            raise ValueError(
                f"RemoteMonitor: root must begin with http:// or https://, got {root!r}"
            )
        self.root = root
        self.path = path
        self.field = field
        self.headers = dict(headers or {})
        self.send_as_json = flag("RemoteMonitor", "send_as_json", send_as_json)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        from urllib.error import URLError
        from urllib.parse import urlencode
        from urllib.request import Request, urlopen

        values: dict[str, Any] = {"epoch": epoch}
        if "job" in self.params:  # of train_many, whose jobs may share a server
            values["job"] = self.params["job"]
        values |= {name: np.asarray(value).tolist() for name, value in (logs or {}).items()}
        text, headers = json.dumps(values), dict(self.headers)
        if self.send_as_json:
            data = text.encode()
            headers["Content-Type"] = "application/json"
        else:
            data = urlencode({self.field: text}).encode()
        try:
            with urlopen(Request(self.root + self.path, data, headers), timeout=10):
                pass
        except (URLError, OSError, ValueError) as error:
            warn(f"Could not reach RemoteMonitor root server at {self.root}: {error}")
