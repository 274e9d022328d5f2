"""A server of Zenodo's API for one record, that can fail in the ways a network does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from intelligibility.corpora import download


@dataclass
class Record:
    """What the server holds, how it fails, and what it was asked for."""

    files: dict[str, bytes]
    drop_after: int | None = None  # bytes of each answer; then the connection closes
    drops: int = 0  # how often it still does so
    ranges: bool = True  # whether it goes on in the middle of a file
    checksums: dict[str, str] = field(default_factory=dict)  # wrong ones
    status: list[int] = field(default_factory=list)  # to answer with before all is well
    busy: list[int] = field(default_factory=list)  # the same, when asked for the listing
    address: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # file, Range
    agents: set[str] = field(default_factory=set)  # who asked

    def listing(self) -> dict:
        """Return the record as Zenodo's API gives it, so far as it is used."""
        return {
            "id": 1,
            "files": [
                {
                    "key": name,
                    "size": len(content),
                    "checksum": self.checksums.get(name)
                    or f"md5:{hashlib.md5(content).hexdigest()}",
                    "links": {"self": f"{self.address}/1/files/{name}/content"},
                }
                for name, content in self.files.items()
            ],
        }


@contextmanager
def serving(record: Record) -> Iterator[str]:
    """Serve a record on this machine, in place of Zenodo; yield the address of its API."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.split("/")
            record.agents.add(self.headers["User-Agent"])
            if "files" not in parts and record.busy:
                self.answer(record.busy.pop(0), b"", {"Retry-After": "0"})
                return
            if "files" not in parts:
                self.answer(200, json.dumps(record.listing()).encode(), {})
                return
            name = parts[-2]
            wanted = self.headers.get("Range")
            record.asked.append((name, wanted))
            if record.status:
                self.answer(record.status.pop(0), b"", {"Retry-After": "0"})
                return
            content, start = record.files[name], 0
            headers, status = {}, 200
            if wanted and record.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                status = 206
            self.answer(status, content[start:], headers, name)

        def answer(self, status: int, body: bytes, headers: dict, name: str = "") -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if name and record.drops and record.drop_after is not None:
                record.drops -= 1
                body = body[: record.drop_after]
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        record.address = f"http://127.0.0.1:{server.server_port}/api/records"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        zenodo, download.ZENODO = download.ZENODO, record.address
        try:
            yield record.address
        finally:
            download.ZENODO = zenodo
            server.shutdown()
            thread.join()
