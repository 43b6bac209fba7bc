"""Large hub files, resumed where an earlier run broke off.

The hub's own client resumes within one call and throws a partial file away when the call fails. A checkpoint is one
file of ten gigabytes and more, so weights are fetched here, into a partial file that the next run continues, checked
against their sha256, and put into the hub's cache, where the client finds them.
"""

import hashlib
import re
import time
from pathlib import Path, PurePosixPath

from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, snapshot_download
from huggingface_hub.errors import DryRunError, HfHubHTTPError, HTTPError
from huggingface_hub.file_download import DryRunFileInfo
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, tqdm

from dimrt.errors import ResourceError

SHA256 = re.compile(r"[0-9a-f]{64}")
"""Etag of a file in large-file storage: its own sha256."""
TRIES = 5
"""Failures in a row, with no byte received in between, after which the download is given up."""
PAUSE = 1.0
"""Seconds before the first new try; doubled each time."""


def fetch_weights(
    name: str, revision: str | None, patterns: list[str], cache_dir: str | Path | None, endpoint: str | None
) -> None:
    """Put the missing large files of hub model `name` into the hub's cache. Does nothing when the hub can't be asked.

    Raises:
        ResourceError: a file isn't what the hub says it is.
        HTTPError: the connection failed too often; what arrived is kept.
    """
    try:
        files = snapshot_download(
            name, revision=revision, cache_dir=cache_dir, allow_patterns=patterns, endpoint=endpoint, dry_run=True
        )
    except DryRunError:
        return
    for file in files:
        if file.will_download:
            _fetch(name, file, endpoint)


def _fetch(name: str, file: DryRunFileInfo, endpoint: str | None) -> None:
    url = hf_hub_url(name, file.filename, revision=file.commit_hash, endpoint=endpoint)
    facts = get_hf_file_metadata(url, endpoint=endpoint)
    if facts.etag is None or facts.size is None or not SHA256.fullmatch(facts.etag):
        return
    snapshot = Path(file.local_path).parents[len(PurePosixPath(file.filename).parts) - 1]
    target = snapshot.parent.parent / "blobs" / facts.etag
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{facts.etag}.dimrt-partial")
    _complete(url, partial, facts.size, file.filename)
    with partial.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != facts.etag:
        partial.unlink()
        raise ResourceError(
            f"hub model {name}: {file.filename} arrived with sha256 {found}, expected {facts.etag}; "
            "it was removed, run the command again"
        )
    partial.replace(target)


def _complete(url: str, partial: Path, size: int, label: str) -> None:
    """Append to `partial` until it has `size` bytes, over as many connections as it takes."""
    failures = 0
    if partial.exists() and partial.stat().st_size > size:
        partial.unlink()
    with tqdm(total=size, desc=label, unit="B", unit_scale=True, disable=None) as progress:
        while (have := partial.stat().st_size if partial.exists() else 0) < size:
            progress.n = have
            try:
                _append(url, partial, have, progress)
            except HTTPError as error:
                refused = isinstance(error, HfHubHTTPError) and error.response.status_code < 500
                failures = 1 if partial.exists() and partial.stat().st_size > have else failures + 1
                if refused or failures > TRIES:
                    raise
                time.sleep(PAUSE * 2 ** (failures - 1))


def _append(url: str, partial: Path, have: int, progress: tqdm) -> None:
    """Ask for the rest of the file; start over when the server sends all of it."""
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    with get_session().stream("GET", url, headers=headers, timeout=timeout, follow_redirects=True) as response:
        hf_raise_for_status(response)
        resumed = response.status_code == 206
        with partial.open("ab" if resumed else "wb") as data:
            for chunk in response.iter_raw():
                data.write(chunk)
                progress.update(len(chunk))
