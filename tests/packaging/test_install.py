"""The base install: small, without torch, importable, and clear about what an extra is needed for."""

from __future__ import annotations

import json
import re
from importlib.metadata import requires
from pathlib import Path

import pytest

from tests.packaging.conftest import Installed

pytestmark = pytest.mark.timeout(900)

OWN = {"foundry_edge", "foundry_edge_export", "foundry_edge_calibration", "foundry_edge_runtime"}
MOST_BYTES = 200_000_000
IMPORT_NAMES = {"scikit-learn": "sklearn", "mcap-ros2-support": "mcap_ros2"}
# Modules that are the base install: they import without any extra. All others may need one (viz.picture
# draws with matplotlib; `foundry_edge_runtime.viz` asks for it first).
BASE = re.compile(
    r"foundry_edge_runtime(?!\.viz\.picture)(\..*)?|foundry_edge(\.cli(\..*)?|\.data(\.shapes|\.samples)?)?"
)
IMPORT_EACH = """
import importlib, json, sys
outcome = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
        outcome[name] = None
    except ModuleNotFoundError as error:
        outcome[name] = error.name
    except Exception as error:
        outcome[name] = repr(error)
print(json.dumps(outcome))
"""


def module_names(site_packages: Path) -> list[str]:
    """Every module of the four packages, dotted."""
    files = (path.relative_to(site_packages) for path in site_packages.glob("foundry_edge*/**/*.py"))
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files)


def extra_packages() -> set[str]:
    """Import names of what the extras bring, from the metadata of this distribution."""
    named = (re.match(r"[\w.-]+", line) for line in requires("foundry-edge") or () if "extra ==" in line)
    return {IMPORT_NAMES.get(match[0], match[0].replace("-", "_")) for match in named if match}


@pytest.fixture(scope="module")
def outcome(installed: Installed) -> dict[str, str | None]:
    names = json.dumps(module_names(installed.site_packages))
    result = installed.run("python", "-W", "error", "-c", IMPORT_EACH, names)
    assert result.returncode == 0, result.stderr
    imported: dict[str, str | None] = json.loads(result.stdout)
    return imported


def test_dependencies_stay_below_200_mb(installed: Installed) -> None:
    files = [path for path in installed.site_packages.rglob("*") if path.is_file()]
    own = [path for path in files if path.relative_to(installed.site_packages).parts[0] in OWN]
    assert own
    assert sum(p.stat().st_size for p in files) - sum(p.stat().st_size for p in own) < MOST_BYTES


def test_base_install_has_neither_torch_nor_onnx(installed: Installed) -> None:
    present = {path.name for path in installed.site_packages.iterdir()}
    assert not present & {"torch", "onnx", "lightning", "sklearn", "scipy"}


def test_base_modules_import_without_extras(outcome: dict[str, str | None]) -> None:
    base = {name: missing for name, missing in outcome.items() if BASE.fullmatch(name)}
    assert len(base) > 10
    assert {name: missing for name, missing in base.items() if missing is not None} == {}


def test_other_modules_import_or_lack_only_what_an_extra_brings(outcome: dict[str, str | None]) -> None:
    allowed = extra_packages()
    assert "torch" in allowed
    odd = {
        name: missing for name, missing in outcome.items() if missing and missing.split(".")[0] not in allowed
    }
    assert odd == {}


def test_installed_command_says_its_version(installed: Installed) -> None:
    result = installed.run("foundry-edge", "--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.fullmatch(r"foundry-edge \d+\.\d+\.\d+\S*\n", result.stdout)


@pytest.mark.parametrize("name", ["load_teacher", "distill", "export"])
def test_missing_extra_names_the_pip_command(installed: Installed, name: str) -> None:
    result = installed.run("python", "-c", f"import foundry_edge; foundry_edge.{name}")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "MissingExtraError" in last
    assert "pip install 'foundry-edge[" in last


def test_distill_without_torch_is_one_line_and_exit_3(installed: Installed) -> None:
    result = installed.run("foundry-edge", "distill")
    assert (result.returncode, result.stdout) == (3, "")
    assert len(result.stderr.splitlines()) == 1
    assert "pip install 'foundry-edge[train]'" in result.stderr
