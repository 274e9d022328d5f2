"""Files of a Zenodo record: what there is, and each downloaded whole, in as many tries as needed.

pooch keeps what is whole and checks the MD5; it cannot continue a partial file, so the bytes
come by a downloader of ours, which asks for what is still missing (HTTP's Range).
"""

import logging
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests
from requests.adapters import HTTPAdapter, Retry
from tqdm import tqdm

from intelligibility.corpora.presentation import safe_name
from intelligibility.runs import RecipeError

logger = logging.getLogger(__name__)

ZENODO = "https://zenodo.org/api/records"  # tests put a server of their own here
TIMEOUT = 60  # s without a byte
TRIES = 5  # in a row that bring nothing
LONGEST_WAIT = 60  # s between them
BLOCK = 1 << 20  # bytes
HEADERS = {"User-Agent": "speech-intelligibility-recipe/1.0"}  # Zenodo turns nameless robots away
BUSY = (403, 408, 429, 500, 502, 503, 504)  # answers that another try may better
ADVICE = "what came is kept: the same command goes on from there"


@dataclass(frozen=True)
class RecordFile:
    """A file of a record: its name, bytes, checksum ("md5:" and 32 digits) and address."""

    name: str
    size: int
    checksum: str
    url: str


def read_record(number: int) -> list[RecordFile]:
    """Ask Zenodo what a record holds, by its number, such as 17045970.

    RecipeError where there is no answer, or not the answer of a record.
    """
    address = f"{ZENODO}/{number}"
    again = Retry(
        TRIES,
        connect=1,
        status_forcelist=BUSY,
        backoff_factor=1,
        backoff_max=LONGEST_WAIT,
        raise_on_status=False,
    )
    try:
        with requests.Session() as session:
            session.mount(address, HTTPAdapter(max_retries=again))
            response = session.get(address, headers=HEADERS, timeout=TIMEOUT)
        response.raise_for_status()
        return [_record_file(entry) for entry in response.json()["files"]]
    except requests.exceptions.JSONDecodeError as error:
        raise RecipeError(f"{address}: the answer is no json ({error}); is it a record?") from None
    except requests.HTTPError as error:
        raise RecipeError(
            f"{address}: {error}; Zenodo answers but does not give the record: try again later"
        ) from None
    except requests.RequestException as error:
        raise RecipeError(f"{address}: {error}; is the network there?") from None
    except (KeyError, TypeError, ValueError) as error:
        raise RecipeError(f"{address}: not the answer of a record ({error!r})") from None


def _record_file(entry: dict[str, Any]) -> RecordFile:
    size, checksum = entry["size"], entry["checksum"]
    if not (isinstance(size, int) and size >= 0):
        raise ValueError(f"size is {size!r}, expected bytes")
    if not re.fullmatch(r"md5:[0-9a-f]{32}", str(checksum)):
        raise ValueError(f"checksum is {checksum!r}, expected md5: and 32 digits")
    return RecordFile(safe_name(entry["key"], "key"), size, checksum, str(entry["links"]["self"]))


def download(file: RecordFile, folder: Path) -> Path:
    """Download a file, or find it there; in both cases its checksum is that of the record.

    RecipeError where the connection does not hold, or something else came.
    """
    part = partial_file(file, folder)

    def complete(url: str, target: str, _: Any) -> None:
        _complete(part, url, file.size)
        os.replace(part, target)

    pooch.get_logger().setLevel(logging.WARNING)
    try:
        return Path(pooch.retrieve(file.url, file.checksum, file.name, folder, downloader=complete))
    except ValueError as error:  # pooch's, of the checksum
        raise RecipeError(
            f"{file.name}: {error}; it was deleted: run the same command again, and if it "
            "comes out the same, tell the record's authors"
        ) from None


def partial_file(file: RecordFile, folder: Path) -> Path:
    """Return where a file lies while the rest of it is still to come."""
    return folder / f"{file.name}.part"


def _complete(part: Path, url: str, size: int) -> None:
    """Download what is missing of `size` bytes, and try again as long as something comes."""
    part.touch()
    if part.stat().st_size > size:
        part.unlink()
    fruitless = 0
    have = part.stat().st_size
    often = 0.1 if sys.stderr.isatty() else 60  # s
    with tqdm(
        total=size, initial=have, desc=part.stem, unit="B", unit_scale=True, mininterval=often
    ) as bar:
        while (have := part.stat().st_size) < size:
            wait, why = 2.0**fruitless - 1, "the connection ended early"
            try:
                _append(part, url, bar.update)
            except requests.HTTPError as error:
                answer = error.response
                if answer.status_code not in BUSY:
                    raise RecipeError(f"{url}: {error}; {ADVICE}") from None
                asked = answer.headers.get("Retry-After", "")
                wait, why = max(wait, float(asked) if asked.isdigit() else 0.0), str(error)
            except requests.RequestException as error:
                why = str(error)
            fruitless = 0 if part.stat().st_size > have else fruitless + 1
            if part.stat().st_size >= size:
                return
            if fruitless == TRIES:
                raise RecipeError(f"{url}: {why}; {ADVICE}")
            logger.warning("%s: %s; trying again", part.stem, why)
            time.sleep(min(wait, LONGEST_WAIT))


def _append(part: Path, url: str, came: Callable[[int], Any]) -> None:
    """Ask for what follows the bytes that are there, and append what comes."""
    have = part.stat().st_size
    headers = HEADERS | {"Range": f"bytes={have}-", "Accept-Encoding": "identity"}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        response.raise_for_status()
        goes_on = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if have and not goes_on:  # a server that begins again, whatever it was asked
            came(-have)
        with part.open("ab" if goes_on else "wb") as stream:
            for block in response.iter_content(BLOCK):
                stream.write(block)
                came(len(block))
