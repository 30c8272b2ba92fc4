# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""The front door: each session calls one verb of ``python -m builder``; arguments after ``--`` are passed through."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import nox

nox.options.sessions = ["build"]
nox.options.default_venv_backend = "none"
_ROOT = Path(__file__).parent
_LOCK = _ROOT / "requirements.lock"


def _python(session: nox.Session, extra: str = "") -> str:
    """Return the interpreter of an environment with kmodsmith in it, shared by all sessions.

    It is made once per state of pyproject.toml and the lock: asking pip each time costs more than a run that has
    nothing to do.
    """
    folder = _ROOT / ".nox" / f"kmodsmith{extra}"
    python = str(folder / "bin" / "python")
    stamp = folder / "installed"
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in (_ROOT / "pyproject.toml", _LOCK))).hexdigest()
    if not stamp.is_file() or stamp.read_text() != wanted:
        # --clear: what an older lock brought must not stay.
        session.run_install(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(folder), external=True)
        _install_locked(session, python, extra)
        stamp.write_text(wanted)
    return python


def _install_locked(session: nox.Session, python: str, extra: str) -> None:
    """Install kmodsmith and what it needs: exactly what the lock says, and only what its hashes let in."""
    project = nox.project.load_toml(_ROOT / "pyproject.toml")
    wanted = [*project["build-system"]["requires"], "editables", *project["project"]["dependencies"]]
    wanted += project["project"]["optional-dependencies"].get(extra, [])
    pip = (python, "-m", "pip", "install", "--quiet")
    session.run_install(*pip, "--require-hashes", "--constraint", str(_LOCK), *wanted, external=True)
    # Built by what was installed just now; in an environment of its own pip would fetch a builder of today.
    session.run_install(*pip, "--no-deps", "--no-build-isolation", "--editable", str(_ROOT), external=True)


def _builder(session: nox.Session, *arguments: str) -> None:
    session.run(_python(session), "-m", "builder", *arguments, *session.posargs, external=True)


def _make_ready(session: nox.Session, *options: str) -> None:
    """Install the host's tools; does nothing where they are there."""
    session.run(_python(session), "-m", "builder", "doctor", "--install", "--quiet", *options, external=True)


@nox.session
def build(session: nox.Session) -> None:
    """Build what is not up to date: nox -s build -- --group debian."""
    _make_ready(session)
    _builder(session, "build")


@nox.session
def shard(session: nox.Session) -> None:
    """Carry out one shard of a plan that plan --to sent: nox -s shard -- --plan REF --shard 3."""
    _make_ready(session)
    _builder(session, "shard")


@nox.session
def gate(session: nox.Session) -> None:
    """Tell what came of a plan that many machines carried out: nox -s gate -- --plan REF."""
    _builder(session, "gate")


@nox.session
def follow(session: nox.Session) -> None:
    """Follow a pipeline on a cluster as one table: nox -s follow -- PIPELINERUN, or -- --start build."""
    _builder(session, "follow")


@nox.session
def boot(session: nox.Session) -> None:
    """Load what is built on its own kernels, in virtual machines: nox -s boot -- --kernel GLOB."""
    _make_ready(session, "--boot")
    _builder(session, "boot")


@nox.session
def init(session: nox.Session) -> None:
    """Put your driver into versions.yaml: nox -s init -- --vendor 'My Company' --source ../driver."""
    _builder(session, "init")


@nox.session
def plan(session: nox.Session) -> None:
    """Show what would be built, and why."""
    _builder(session, "plan")


@nox.session
def discover(session: nox.Session) -> None:
    """Ask the kernel sources which kernels there are; writes versions.lock.yaml."""
    _builder(session, "discover")


@nox.session
def matrix(session: nox.Session) -> None:
    """Show which releases run which kernels, and what is known of each: nox -s matrix -- --release '4.18.*'."""
    _builder(session, "matrix")


@nox.session(name="upgrade-check")
def upgrade_check(session: nox.Session) -> None:
    """Are all images there for a release? nox -s upgrade-check -- 4.18.12."""
    _builder(session, "upgrade-check")


@nox.session
def publish(session: nox.Session) -> None:
    """Put images into their registries, tags last and once."""
    _builder(session, "publish")


@nox.session
def audit(session: nox.Session) -> None:
    """Compare what registries have with what was published."""
    _builder(session, "audit")


@nox.session
def verify(session: nox.Session) -> None:
    """Check an image of a registry with a public key: nox -s verify -- IMAGE --key FILE."""
    _builder(session, "verify")


@nox.session
def certify(session: nox.Session) -> None:
    """What would Red Hat's preflight say of images? nox -s certify -- IMAGE, or of all that is built."""
    _builder(session, "certify")


@nox.session
def checklist(session: nox.Session) -> None:
    """Are the questions answered that are asked of a vendor before certification? nox -s checklist -- --write."""
    _builder(session, "checklist")


@nox.session
def bundle(session: nox.Session) -> None:
    """Write published images into one file, or load it: nox -s bundle -- load FILE --to REGISTRY."""
    _builder(session, "bundle")


@nox.session
def emit(session: nox.Session) -> None:
    """Write files for clusters and hosts: nox -s emit -- kmm."""
    _builder(session, "emit")


@nox.session
def explain(session: nox.Session) -> None:
    """Why does a node of a cluster have its driver, or why not? nox -s explain -- NODE."""
    _builder(session, "explain")


@nox.session(name="lint-kmm")
def lint_kmm(session: nox.Session) -> None:
    """Check YAML for KMM without a cluster: nox -s lint-kmm -- FILE."""
    _builder(session, "lint", "kmm")


@nox.session(name="lint-operator")
def lint_operator(session: nox.Session) -> None:
    """Check a bundle of an operator that anybody wrote: nox -s lint-operator -- FOLDER."""
    _builder(session, "lint", "operator")


@nox.session
def nightly(session: nox.Session) -> None:
    """Discover, then build what is missing; safe to run every hour."""
    _make_ready(session)
    _builder(session, "nightly")


@nox.session
def doctor(session: nox.Session) -> None:
    """Check this machine; with -- --install, make it ready."""
    _builder(session, "doctor")


@nox.session
def log(session: nox.Session) -> None:
    """Print the build log of a cell, or of the last that failed."""
    _builder(session, "log")


@nox.session
def site(session: nox.Session) -> None:
    """Write pages of all that is on record, to look at and to send on: site/index.html."""
    _builder(session, "site")


@nox.session
def fit(session: nox.Session) -> None:
    """Prove that an image's modules would load on its kernel: nox -s fit -- IMAGE."""
    _builder(session, "fit")


@nox.session
def sign(session: nox.Session) -> None:
    """Sign modules, or the modules of an image: nox -s sign -- --signer NAME FILE.ko."""
    _builder(session, "sign")


@nox.session
def keys(session: nox.Session) -> None:
    """Make a development key, show certificates and the signing log: nox -s keys -- create."""
    _builder(session, "keys")


@nox.session
def compat(session: nox.Session) -> None:
    """On which other kernels would the built modules load, by symbol CRCs?"""
    _builder(session, "compat")


@nox.session
def drift(session: nox.Session) -> None:
    """What changed between two kernels for a driver: nox -s drift -- KERNEL KERNEL."""
    _builder(session, "drift")


@nox.session
def schema(session: nox.Session) -> None:
    """Print the JSON schema of versions.yaml; with -- --write, write it and the reference page."""
    _builder(session, "schema")


@nox.session
def prune(session: nox.Session) -> None:
    """Remove images that no group needs any more."""
    _builder(session, "prune")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the fast tests; with -- --real, also those with real tools. Side by side, unless words after -- select."""
    selection = [word for word in session.posargs if word != "--real"]
    arguments = selection or ["--numprocesses", "auto"]
    if "--real" in session.posargs:
        _make_ready(session, "--tests")
        # Each worker has a container store of its own, so more of them make more toolkits, not less work. Real tests
        # of a file share a lab, a site or a box that takes longer than they do; they come first, fast ones fill up.
        side_by_side = ["--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "25"]
        # What takes minutes to build or to run, or npm's index, is asked for by its marker; a later -m wins.
        unless_asked = "not bench and not kind and not preflight and not tekton and not long and not npm"
        arguments = ["-m", unless_asked, *(selection or side_by_side)]
    session.run(_python(session, "dev"), "-m", "pytest", *arguments, external=True)


@nox.session
def e2e(session: nox.Session) -> None:
    """Test on a real cluster, made here from package registries: nox -s e2e -- --keep, --shell, --delete."""
    python = _python(session, "dev")
    _make_ready(session, "--e2e", "--tests")
    environment = {"PYTHONPATH": f"{_ROOT / 'tests'}:{_ROOT}"}
    session.run(python, "-m", "integration.kind.e2e", *session.posargs, external=True, env=environment)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    for arguments in (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)):
        session.run(_python(session, "dev"), "-m", *arguments, external=True)


@nox.session
def lock(session: nox.Session) -> None:
    """Write the locks of Python packages from ranges of pyproject.toml: nox -s lock -- --upgrade takes newer ones."""
    folder = _ROOT / ".nox" / "lock"
    python = str(folder / "bin" / "python")
    session.run_install(sys.executable, "-m", "virtualenv", "--quiet", str(folder), external=True)
    session.run_install(python, "-m", "pip", "install", "--quiet", "--upgrade", "uv", external=True)
    # One file for all Pythons and architectures, and no address of any index in it.
    compile_ = ("-m", "uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes")
    names = ("--python-version", "3.11", "--custom-compile-command", "nox -s lock")
    own = ("--output-file", _LOCK.name, "--all-extras", *session.posargs)
    session.run(python, *compile_, *names, *own, "pyproject.toml", external=True)
    # What the images of operator/ get: wheels alone, because nothing is built for another architecture.
    for name, extras in (("requirements", ()), ("requirements-operator", ("--extra", "operator"))):
        more = ("--output-file", f"operator/{name}.lock", "--no-build", *extras, *session.posargs)
        session.run(python, *compile_, *names, *more, "operator/pyproject.toml", external=True)
    # What the builder image gets: what kmodsmith itself needs, in the versions of its own lock.
    linux = ("-m", "uv", "pip", "compile", "--quiet", "--generate-hashes", "--python-platform", "x86_64-manylinux_2_34")
    more = ("--output-file", "builder/requirements.lock", "--no-build", "--constraint", _LOCK.name, *session.posargs)
    session.run(python, *linux, *names, *more, "pyproject.toml", external=True)


@nox.session
def stubs(session: nox.Session) -> None:
    """Make operator/kmod_operator/kubelet_api anew: nox -s stubs -- FOLDER of the Go module k8s.io/kubelet."""
    folder = _ROOT / ".nox" / "stubs"
    python = str(folder / "bin" / "python")
    session.run_install(sys.executable, "-m", "virtualenv", "--quiet", str(folder), external=True)
    makers = ("grpcio-tools==1.85.1", "grpclib==0.4.9", "mypy-protobuf==5.1.0")
    session.run_install(python, "-m", "pip", "install", "--quiet", *makers, external=True)
    session.run(str(_ROOT / "operator" / "make_stubs.sh"), python, *session.posargs, external=True)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Try hostile inputs on every parser: nox -s fuzz -- --only layer --inputs 5000."""
    python = _python(session, "dev")
    session.run(
        python,
        "-m",
        "fuzz.campaign",
        *session.posargs,
        external=True,
        env={"PYTHONPATH": f"{_ROOT / 'tests'}:{_ROOT / 'operator'}"},
    )


@nox.session
def bench(session: nox.Session) -> None:
    """Measure against DKMS and bare make; writes tests/bench/results/."""
    _make_ready(session, "--tests")
    environment = {"PYTHONPATH": f"{_ROOT / 'tests'}:{_ROOT}"}
    session.run(_python(session, "dev"), "-m", "bench.bench", *session.posargs, external=True, env=environment)


@nox.session
def vendors(session: nox.Session) -> None:
    """Judge every dkms package of the Debian archive, beside dkms: hours; writes tests/vendors/results/."""
    _make_ready(session, "--tests")
    environment = {"PYTHONPATH": f"{_ROOT / 'tests'}:{_ROOT}"}
    session.run(_python(session, "dev"), "-m", "vendors.survey", *session.posargs, external=True, env=environment)


if __name__ == "__main__":
    nox.main()
