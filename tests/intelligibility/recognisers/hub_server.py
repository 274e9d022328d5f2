"""A server on this machine that speaks as much of the hub's API as fetching a model needs."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """What the server holds, and what it was asked for.

    Attributes
    ----------
    models : dict
        The folder of every model by its id.
    revisions : dict
        The names of the one commit that each model has.
    gated : set
        Models that ask for consent.
    asked : list of str
        The paths that were asked for.
    """

    def __init__(self) -> None:
        self.models: dict[str, Path] = {}
        self.revisions = {"main": COMMIT, "v1": COMMIT, COMMIT: COMMIT}
        self.gated: set[str] = set()
        self.asked: list[str] = []

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content."""
        self.asked.append(path)
        found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(\w+)/([^/]+)(?:/(.*))?)?", path)
        name, what, revision, file = found.groups() if found else ("", None, None, None)
        if name in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        if name not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if (revision or "main") not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        folder = self.models[name]
        if what == "resolve":
            if not (folder / file).is_file():
                return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
            content = (folder / file).read_bytes()
            tag = hashlib.sha1(content).hexdigest()
            return 200, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}, content
        if what == "tree":
            return 200, {}, json.dumps([_listed(one, folder) for one in _files(folder)]).encode()
        files = [{"rfilename": str(one.relative_to(folder))} for one in _files(folder)]
        return 200, {}, json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _listed(file: Path, folder: Path) -> dict:
    content = file.read_bytes()
    oid = hashlib.sha1(content).hexdigest()
    path = str(file.relative_to(folder))
    return {"type": "file", "path": path, "size": len(content), "oid": oid}


@contextmanager
def asked_by_all(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve as the hub that huggingface_hub asks, with a cache of its own."""
    with serving(hub) as address:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        yield hub


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve, and give the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, content = hub.answer(unquote(urlsplit(self.path).path))
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(content))}).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
