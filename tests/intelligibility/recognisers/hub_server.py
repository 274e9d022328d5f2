"""A server on this machine that speaks as much of the hub's API as fetching a model needs."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", "v1", COMMIT)  # the names of the one commit that each model has


@dataclass
class Hub:
    """What the server holds, and what it was asked for."""

    models: dict[str, Path] = field(default_factory=dict)  # folders by their ids
    gated: set[str] = field(default_factory=set)  # models whose owners ask for consent
    asked: list[str] = field(default_factory=list)  # paths

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and content."""
        self.asked.append(path)
        found = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/]+)(?:/(\w+)/([^/]+)(?:/(.*))?)?", path)
        name, what, revision, file = found.groups() if found else ("", None, None, None)
        if name in self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        if name not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if (revision or "main") not in REVISIONS:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        folder = self.models[name]
        if what == "resolve":
            if not (folder / file).is_file():
                return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
            content = (folder / file).read_bytes()
            return 200, {"ETag": f'"{sha1(content)}"', "X-Repo-Commit": COMMIT}, content
        paths = {str(one.relative_to(folder)): one for one in sorted(folder.rglob("*"))}
        paths = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
        if what == "tree":
            listed = [
                {"type": "file", "path": path, "size": len(content), "oid": sha1(content)}
                for path, content in paths.items()
            ]
            return 200, {}, json.dumps(listed).encode()
        files = [{"rfilename": path} for path in paths]
        return 200, {}, json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode()


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def asked_by_all(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve as the hub that huggingface_hub asks, with a cache of its own."""

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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        try:
            yield hub
        finally:
            server.shutdown()
