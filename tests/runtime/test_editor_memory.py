"""What can't fit is refused before anything is loaded, for whole edits and for every named step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from standin_gpu import StandinGpu

from dimrt.backends.base import ROLES
from dimrt.backends.onnxruntime import OrtBackend
from dimrt.bundle import Bundle
from dimrt.editor import Editor
from dimrt.errors import ResourceError
from dimrt.memory.count import count_bytes
from dimrt.memory.fits import as_built_for
from dimrt.memory.setting import Setting
from dimrt.options import EditOptions
from dimrt.request import resolve
from dimrt.result import Design

OPTIONS = EditOptions(steps=1, max_new_tokens=4)
PHOTO = np.full((64, 64, 3), 99, np.uint8)
LATENT = np.zeros((1, 32, 16, 16), np.float32)
STEPS: dict[str, Callable[[Editor], Any]] = {
    "vision, language, connector": lambda editor: editor.design(PHOTO, "make it red", OPTIONS),
    "encode": lambda editor: editor.encode(PHOTO, OPTIONS),
    "context, step": lambda editor: editor.paint(Design(None, np.zeros((5, 192), np.float32)), LATENT, OPTIONS),
    "decode": lambda editor: editor.decode(LATENT),
}


class LoadsNothing(OrtBackend):
    """A backend whose engines are never asked for."""

    def engine(self, graph: str) -> Any:
        raise AssertionError(f"{graph} was loaded")


@pytest.fixture
def set_free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets what the system has left."""
    return lambda size: monkeypatch.setattr("dimrt.backends.base.available_memory", lambda: size)


def taken(bundle: Bundle, *graphs: str) -> int:
    """Bytes that these graphs of an edit with `OPTIONS` take."""
    side = bundle.manifest.resolution.side
    request = resolve(OPTIONS, bundle.manifest)
    guided = request.guidance_scale != 1.0
    setting = Setting((side, side), request.max_new_tokens, guided, graphs=graphs or tuple(bundle.manifest.graphs))
    return count_bytes(bundle, setting, "onnxruntime", None).peak


@pytest.mark.parametrize("graphs", STEPS)
def test_each_step_is_refused_before_anything_is_loaded(
    nano: Bundle, set_free: Callable[[int], None], graphs: str
) -> None:
    set_free(150_000_000)
    with pytest.raises(ResourceError, match=rf"this step \({graphs}\) takes about 0\.\d GB and this machine has 0\.1"):
        STEPS[graphs](Editor(nano, LoadsNothing(nano)))


def test_a_whole_edit_is_refused_before_anything_is_loaded(nano: Bundle, set_free: Callable[[int], None]) -> None:
    larger = max(taken(nano, *graphs) for graphs in ROLES.values())
    set_free(larger - 1)
    editor = Editor(nano, LoadsNothing(nano))
    with pytest.raises(ResourceError, match=r"this edit takes about 0\.\d GB"):
        editor.edit(PHOTO, "make it red", OPTIONS)
    set_free(larger)
    with pytest.raises(AssertionError, match="was loaded"):
        editor.edit(PHOTO, "make it red", OPTIONS)


def test_where_both_roles_do_not_fit_they_are_loaded_one_after_the_other(
    nano: Bundle, set_free: Callable[[int], None], photo: NDArray[np.uint8]
) -> None:
    class Remembers(OrtBackend):
        """Notes the most graphs that it held at once."""

        most = 0

        def engine(self, graph: str) -> Any:
            engine = super().engine(graph)
            self.most = max(self.most, len(self._engines))
            return engine

    roomy, tight = Remembers(nano, threads=1), Remembers(nano, threads=1)
    set_free(taken(nano))
    expected = Editor(nano, roomy).edit(photo, "make it red", OPTIONS)
    set_free(taken(nano) - 1)
    result = Editor(nano, tight).edit(photo, "make it red", OPTIONS)
    assert (roomy.residency, roomy.most) == ("all", 7)
    assert (tight.residency, tight.most) == ("phased", 4)
    assert np.array_equal(result.image, expected.image)


def test_a_step_needs_room_for_its_own_graphs_only(
    nano: Bundle, nano_backend: OrtBackend, set_free: Callable[[int], None]
) -> None:
    editor = Editor(nano, nano_backend)
    set_free(taken(nano, *ROLES["designer"]))
    assert taken(nano, *ROLES["designer"]) < taken(nano)
    editor.design(PHOTO, "make it red", OPTIONS)
    set_free(taken(nano, "encode") - 1)
    with pytest.raises(ResourceError, match="encode"):
        editor.encode(PHOTO, OPTIONS)
    set_free(taken(nano, "encode"))
    editor.encode(PHOTO, OPTIONS)


def test_what_is_loaded_is_not_asked_for_again_until_it_is_given_back(
    nano: Bundle, nano_backend: OrtBackend, set_free: Callable[[int], None]
) -> None:
    editor = Editor(nano, nano_backend)
    set_free(taken(nano))
    editor.edit(PHOTO, "make it red", OPTIONS)
    set_free(0)
    editor.edit(PHOTO, "make it red", OPTIONS)
    editor.encode(PHOTO, OPTIONS)
    editor.close()
    with pytest.raises(ResourceError, match="this edit"):
        editor.edit(PHOTO, "make it red", OPTIONS)


def test_a_prompt_alone_needs_no_room_for_vision(
    generate_bundle: Bundle, generate_backend: OrtBackend, set_free: Callable[[int], None]
) -> None:
    graphs = [graph for graph in generate_bundle.manifest.graphs if graph != "vision"]
    set_free(taken(generate_bundle, *graphs))
    assert taken(generate_bundle, *graphs) < taken(generate_bundle)
    Editor(generate_bundle, generate_backend).generate("a tree", OPTIONS)


def test_where_nobody_knows_nothing_is_refused(
    nano: Bundle, nano_backend: OrtBackend, monkeypatch: pytest.MonkeyPatch, set_free: Callable[[int], None]
) -> None:
    set_free(0)
    monkeypatch.setattr(nano_backend, "target", None)
    Editor(nano, nano_backend).edit(PHOTO, "make it red", OPTIONS)


def test_a_targets_memory_holds_what_was_loaded_before(
    gpu_editor: Editor, gpu: StandinGpu, nano: Bundle, monkeypatch: pytest.MonkeyPatch, photo: NDArray[np.uint8]
) -> None:
    """A target says all it has, not what is left: the designer's graphs count when the painter's are loaded too."""
    backend = gpu_editor._backend
    target = backend.target
    side = nano.manifest.resolution.side
    request = resolve(OPTIONS, nano.manifest)
    setting = Setting((side, side), request.max_new_tokens, request.guidance_scale != 1.0)
    setting = as_built_for(target, setting)
    designer, encode, both = (
        count_bytes(nano, replace(setting, graphs=graphs), target.flavour, None).peak
        for graphs in (ROLES["designer"], ("encode",), (*ROLES["designer"], "encode"))
    )
    assert max(designer, encode) < both
    monkeypatch.setattr(backend, "_target", msgspec.structs.replace(target, memory_bytes=both - 1))
    gpu_editor.design(photo, "make it red", OPTIONS)
    with pytest.raises(ResourceError, match="standin has"):
        gpu_editor.encode(photo, OPTIONS)
    gpu_editor.close()
    gpu_editor.encode(photo, OPTIONS)
