from __future__ import annotations

import pytest

from featurelib.errors import ConfigError, ModelGateError
from featurelib.pipeline.functions import learner_code, module_sha256
from featurelib.training.function_model import FunctionModel

LEARNER = """
class Mean:
    value = {value}
    def fit(self, features, label, *, parameters, seed): ...
    def predict(self, features): ...
    def save(self, folder): ...
    @classmethod
    def load(cls, folder): ...
class Half:
    def fit(self, features, label, *, parameters, seed): ...
"""


def test_a_changed_module_is_another_learner(tmp_path):
    """What runs is what the hash says: a text that changed in a long process is loaded anew."""
    path = tmp_path / "mine.py"
    found = []
    for value in (1, 2):
        path.write_text(LEARNER.format(value=value))
        found.append(learner_code(str(tmp_path), "mine:Mean"))

    assert [code.learner.value for code in found] == [1, 2]
    assert found[0].sha256 != found[1].sha256 == module_sha256(str(tmp_path), "mine:Mean")


def test_what_is_no_learner_is_refused(tmp_path):
    """A missing module, a missing class, and a class without all of its methods say what to do."""
    (tmp_path / "mine.py").write_text(LEARNER.format(value=1))
    with pytest.raises(ConfigError, match="lacks predict, save, load"):
        learner_code(str(tmp_path), "mine:Half")
    with pytest.raises(ConfigError, match="'Man' defined in"):
        learner_code(str(tmp_path), "mine:Man")
    with pytest.raises(ConfigError, match=r"a file .*yours\.py"):
        learner_code(str(tmp_path), "yours:Mean")


@pytest.mark.parametrize(
    ("files", "told"),
    [('{"../out.json": "e30="}', "a path in its folder"), ('{"model.bin": "gARLAS4="}', "is a pickle")],
)
def test_files_of_a_learner_stay_in_their_folder_and_are_no_pickles(tmp_path, files, told):
    """A model from elsewhere may not write beside its folder, nor bring a pickle, when it is bound."""
    (tmp_path / "mine.py").write_text(LEARNER.format(value=1))
    code = learner_code(str(tmp_path), "mine:Mean")
    model = FunctionModel()
    model._set(reference="mine:Mean", codeSha256=code.sha256, task="binary", places="[]", files=files)

    with pytest.raises(ModelGateError, match=told):
        model.bound(code)
