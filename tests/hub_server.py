"""A server on this machine that speaks as much of the Hub's protocol as a download needs."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """Models by name, each at one commit.

    Attributes:
        requests: paths that were asked for.
    """

    def __init__(self, models: dict[str, Path]) -> None:
        self.models = models
        self.requests: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        self.requests.append(path)
        found = re.fullmatch(r"(?:/api/models)?/(.+?)/(revision|tree|resolve)/([^/?]+)/?([^?]*)(?:\?.*)?", path)
        if found is None or found[1] not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        name, what, revision, inner = found.groups()
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        folder = self.models[name]
        if what == "revision":
            return 200, {}, json.dumps({"_id": "1", "id": name, "modelId": name, "sha": COMMIT, "tags": []}).encode()
        if what == "tree":
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            entries = [
                {
                    "type": "file",
                    "path": path.relative_to(folder).as_posix(),
                    "size": path.stat().st_size,
                    "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
                }
                for path in files
            ]
            return 200, {}, json.dumps(entries).encode()
        content = (folder / inner).read_bytes()
        return 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content


@contextmanager
def hub(models: dict[str, Path], cache: Path) -> Iterator[Hub]:
    """The server, with huggingface_hub turned to it and to an empty cache."""
    from huggingface_hub import constants

    served = Hub(models)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = served.answer(self.path)
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        with patch.multiple(
            constants,
            ENDPOINT=endpoint,
            HUGGINGFACE_CO_URL_TEMPLATE=endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            HF_HUB_CACHE=str(cache),
            HF_HUB_OFFLINE=False,
        ):
            yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
