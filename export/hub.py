"""Where a checkpoint comes from: a local folder, or a model on the Hugging Face hub.

Downloads go to the hub's own cache (`HF_HOME`, or `cache_dir`), resume where they broke off, and hold only the files
that export reads. `HF_ENDPOINT` names another server. Offline, only the cache is read and no socket is opened.
"""

import os
import re
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    IncompleteSnapshotError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from dimrt.errors import CheckpointError, InputError, ResourceError
from dimrt.export.download import fetch_weights

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
"""`owner/name`, or `owner/name@revision`."""
CONFIGURATION = ("*.json", "*.txt", "*.jinja")
WEIGHTS = ("*.safetensors",)


def resolve(
    source: str | Path, *, offline: bool = False, cache_dir: str | Path | None = None, weights: bool = True
) -> Path:
    """Local folder of `source`: the folder itself, or the download of hub id `owner/name[@revision]`.

    Args:
        source: a folder, or a hub id.
        offline: read the cache only; no connection is made.
        cache_dir: where downloads are kept; the hub's default cache when None.
        weights: whether the weights are needed too, or the configuration and tokenizer files alone.

    Raises:
        InputError: neither a folder nor a hub id; no such model, revision, or access; not in the cache while offline.
        ResourceError: the server can't be reached, or the download broke off (what arrived is kept).
        CheckpointError: the hub answered, but with no usable file.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"{source} is a file; name the folder that holds it")
    if not HUB_ID.fullmatch(str(source)):
        raise InputError(f"{source}: no such folder, and not a hub id (owner/name); check the path")
    name, _, revision = str(source).partition("@")
    downloaded = _download(name, revision or None, offline, cache_dir, weights)
    if not any(downloaded.rglob("*.safetensors" if weights else "*.json")):
        wanted = "safetensors weights" if weights else "configuration files"
        raise CheckpointError(f"hub model {source} holds no {wanted}; name another model or a local folder")
    return downloaded


def _download(name: str, revision: str | None, offline: bool, cache_dir: str | Path | None, weights: bool) -> Path:
    patterns = [*CONFIGURATION, *WEIGHTS] if weights else list(CONFIGURATION)
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        if weights and not offline:
            fetch_weights(name, revision, list(WEIGHTS), cache_dir, endpoint)
        return Path(
            snapshot_download(
                name,
                revision=revision,
                cache_dir=cache_dir,
                allow_patterns=patterns,
                local_files_only=offline,
                endpoint=endpoint,
                max_workers=4,
            )
        )
    except GatedRepoError as error:
        raise InputError(
            f"hub model {name}: access is restricted; accept its terms on the hub and set HF_TOKEN, "
            "or download it and name the folder"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"hub model {name} has no revision {revision}; leave @{revision} out or name another"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{name}: no folder of this name here, and the hub has no such model or it is private; "
            "check the spelling, or set HF_TOKEN for a private model"
        ) from error
    except (LocalEntryNotFoundError, IncompleteSnapshotError) as error:
        raise _not_cached(name, offline, endpoint) from error
    except HFValidationError as error:
        raise InputError(f"{name} is not a valid hub id: {error}") from error
    except HfHubHTTPError as error:
        answer = str(error).splitlines()[0]
        raise ResourceError(
            f"hub model {name}: the server answered with an error: {answer}; what arrived is kept, try again later"
        ) from error
    except (HTTPError, OSError) as error:
        raise ResourceError(
            f"hub model {name}: the download broke off ({error}); what arrived is kept, run the command again to resume"
        ) from error


def _not_cached(name: str, offline: bool, endpoint: str | None) -> InputError | ResourceError:
    if offline:
        return InputError(
            f"hub model {name} is not (or not completely) in the local cache and --offline forbids a download; "
            "run once without --offline, or name a local folder"
        )
    where = endpoint or "the Hugging Face hub"
    return ResourceError(
        f"hub model {name}: can't reach {where} and it isn't in the local cache; check the network (or HF_ENDPOINT), "
        "or name a local folder"
    )
