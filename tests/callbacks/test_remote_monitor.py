"""The values of each epoch arrive at a server."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import numpy as np
import pytest

from cdl.callbacks import RemoteMonitor
from cdl.layers import Dense, Input
from cdl.models import Sequential

X = np.ones((8, 3), np.float32)


@pytest.fixture
def server():
    """An HTTP server that records the requests it gets."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            server.got.append((self.path, dict(self.headers), body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.got = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fit(monitor):
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    return model.fit(X, X[:, :1], epochs=2, verbose=0, callbacks=[monitor]).history


def test_values_are_sent_in_a_form_or_as_json(server):
    root = f"http://127.0.0.1:{server.server_port}"
    losses = fit(RemoteMonitor(root))["loss"]
    losses += fit(RemoteMonitor(root, "/here", headers={"X-Key": "a"}, send_as_json=True))["loss"]
    paths = [path for path, _, _ in server.got]
    assert paths == ["/publish/epoch/end/"] * 2 + ["/here"] * 2
    forms = [json.loads(parse_qs(body)["data"][0]) for _, _, body in server.got[:2]]
    plain = [json.loads(body) for _, _, body in server.got[2:]]
    assert [each["epoch"] for each in forms + plain] == [0, 1, 0, 1]
    assert [each["loss"] for each in forms + plain] == losses
    headers = server.got[-1][1]
    assert headers["X-Key"] == "a"
    assert headers["Content-Type"] == "application/json"


def test_server_that_is_not_there_is_a_warning():
    with pytest.warns(UserWarning, match="Could not reach RemoteMonitor root server"):
        fit(RemoteMonitor("http://127.0.0.1:9"))


def test_address_of_a_file_is_refused():
    with pytest.raises(ValueError, match="root must begin with http"):
        RemoteMonitor("file:///etc/passwd")
