"""Packages that are installed for one test: a `.dist-info` folder on `sys.path`."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from genir import plugins


class Site:
    """A folder of installed packages; its modules include the files beside this one."""

    def __init__(self, folder):
        self.folder = folder

    def install(self, package, groups):
        """Install a package with entry points, {group: {name: "module:Class"}}."""
        info = self.folder / f"{package.replace('-', '_')}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
        sections = [
            "\n".join([f"[{group}]", *(f"{name} = {value}" for name, value in points.items())])
            for group, points in groups.items()
        ]
        (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")
        plugins._entry_points.cache_clear()


@contextmanager
def site_of(folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        patch.syspath_prepend(str(folder))
        yield Site(folder)
    plugins._entry_points.cache_clear()


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    with site_of(tmp_path / "site") as site:
        yield site


@pytest.fixture(scope="session")
def session_site(tmp_path_factory):
    """Return a context manager of a `Site` for fixtures that outlive a test."""
    return lambda: site_of(tmp_path_factory.mktemp("site"))
