"""Signing with real keys, tokens and tools: what the kernel's own sign-file makes, SoftHSM, openssl, buildah."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from programs import need

from builder.errors import SignerError
from builder.kmod.fit import ExpectedSigner, check_signatures, place_modules
from builder.kmod.signature import append_signature, split_signature
from builder.signing.backends.key import KeyRequest
from builder.signing.certificates import read_certificate
from builder.signing.held_key import HeldKey

if TYPE_CHECKING:
    from integration.conftest import Machine

pytestmark = pytest.mark.buildah

_MODULE = Path(__file__).parents[2] / "data" / "modules" / "6.12.117+deb12-amd64" / "ptemplate_core.ko"
_SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
_KERNEL = "6.1.*-cloud-amd64"


def _run(*argv: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, text=True, capture_output=True, check=check, timeout=300, **more)


def make_certificate(folder: Path, name: str, *kind: str) -> tuple[Path, Path]:
    """Make a key and a certificate with openssl, as KMM's documentation does."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.pem"
    _run("openssl", "req", "-x509", "-new", "-nodes", "-utf8", "-sha256", "-days", "30", "-batch", "-subj", f"/CN={name}", "-newkey", *(kind or ("rsa:2048",)), "-keyout", str(key), "-out", str(certificate), "-addext", "keyUsage=digitalSignature")  # fmt: skip
    key.chmod(0o600)
    return key, certificate


def configure(project: Path, signers: dict[str, Any], *used: str, signing: str = "required") -> None:
    file = project / "versions.yaml"
    data = yaml.safe_load(file.read_text())
    data["signers"] = signers
    laptop = data["groups"]["laptop"] | {"signers": list(used), "signing": signing}
    data["groups"] = {"laptop": laptop}  # the others have the same kernels, and nobody signs for them
    file.write_text(yaml.safe_dump(data, sort_keys=False))


def cells(report: dict[str, Any], code: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report["cells"]
    assert code == 0, json.dumps(report["failures"], indent=1)
    return found


@pytest.fixture(scope="module")
def sign_file(machine: Machine, tmp_path_factory: pytest.TempPathFactory, lock_text: str) -> Path:
    """The kernel's own program, out of a toolkit."""
    from integration.conftest import copy_project

    project = copy_project(tmp_path_factory.mktemp("sign-file"))
    (project / "versions.lock.yaml").write_text(lock_text)
    code, report = machine.build(project, "--kernel", _KERNEL)
    cell = cells(report, code)[0]
    toolkit = next(name for name in _image_names(machine) if f"toolkit:{cell['kernel']}" in name)
    program = project / "sign-file"
    with machine.mounted(toolkit) as root:
        shutil.copy(root / "usr/src/kernels" / cell["kernel"] / "scripts/sign-file", program)
    return program


def _image_names(machine: Machine) -> list[str]:
    return machine.buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
def test_the_same_bytes_as_the_kernels_own_program(sign_file: Path, algorithm: str, tmp_path: Path) -> None:
    key, certificate_file = make_certificate(tmp_path, "vendor", "rsa:4096")
    theirs = tmp_path / "theirs.ko"
    _run(str(sign_file), algorithm, str(key), str(certificate_file), str(_MODULE), str(theirs))
    certificate = read_certificate(certificate_file)
    holder = HeldKey(KeyRequest(signer="vendor", way="key_file", place=str(key)))
    content = _MODULE.read_bytes()
    signature = holder.sign(hashlib.new(algorithm, content).digest(), algorithm)
    holder.close()
    assert append_signature(content, [(certificate, algorithm, signature)]) == theirs.read_bytes()


@pytest.mark.parametrize("kind", [("rsa:2048",), ("ec", "-pkeyopt", "ec_paramgen_curve:P-384")])
def test_what_the_kernels_own_program_signs_is_verified(sign_file: Path, kind: tuple[str, ...], tmp_path: Path) -> None:
    key, certificate_file = make_certificate(tmp_path, "vendor", *kind)
    signed = tmp_path / "x.ko"
    _run(str(sign_file), "sha256", str(key), str(certificate_file), str(_MODULE), str(signed))
    placed, findings = place_modules([("x.ko", signed.read_bytes())])
    certificate = read_certificate(certificate_file)
    findings += check_signatures(placed, [ExpectedSigner(certificate=certificate, algorithm="sha256")])
    assert findings == []
    entry = split_signature(signed.read_bytes()).signers[0]
    assert append_signature(placed[0].signed.content, [(certificate, "sha256", entry.signature)]) == signed.read_bytes()
    assert "signer:         vendor" in _run("modinfo", str(signed)).stdout


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A SoftHSM token with an RSA and an ECDSA key; certificates by name."""
    need("softhsm2-util")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    _run("softhsm2-util", "--init-token", "--free", "--label", "Vendor Token", "--so-pin", "98765", "--pin", "2468")
    certificates = {}
    for number, (name, kind) in enumerate(
        {"rsa": ("rsa:2048",), "ec": ("ec", "-pkeyopt", "ec_paramgen_curve:P-384")}.items(), 1
    ):
        key, certificates[name] = make_certificate(tmp_path, name, *kind)
        _run(
            "softhsm2-util",
            "--import",
            str(key),
            "--token",
            "Vendor Token",
            "--label",
            name,
            "--id",
            f"0{number}",
            "--pin",
            "2468",
        )
        key.unlink()
    return certificates


def _token_request(uri: str, pin: str) -> KeyRequest:
    environment = {"SOFTHSM2_CONF": os.environ["SOFTHSM2_CONF"]}
    return KeyRequest(signer="token", way="pkcs11", place=uri, passphrase=pin, environment=environment)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_token_signs(token: dict[str, Path], kind: str, algorithm: str) -> None:
    uri = f"pkcs11:token=Vendor%20Token;object={kind}?module-path={_SOFTHSM}"
    holder = HeldKey(_token_request(uri, "2468"))
    digest = hashlib.new(algorithm, b"module").digest()
    assert read_certificate(token[kind]).accepts(holder.sign(digest, algorithm), digest, algorithm)
    holder.close()


@pytest.mark.parametrize(
    ("code", "uri", "pin"),
    [
        ("passphrase-wrong", "token=Vendor%20Token;object=rsa", "1111"),
        ("token-unreachable", "token=Another;object=rsa", "2468"),
        ("key-unreadable", "token=Vendor%20Token;object=nothing", "2468"),
    ],
)
def test_a_token_that_refuses(token: dict[str, Path], code: str, uri: str, pin: str) -> None:
    assert token
    with pytest.raises(SignerError) as caught:
        HeldKey(_token_request(f"pkcs11:{uri}?module-path={_SOFTHSM}", pin))
    assert caught.value.code == code
    assert pin not in caught.value.message


def test_rotation_compiles_nothing(
    machine: Machine, project: Path, token: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a key file to a window with two certificates, to a token alone, to a program; and what is refused."""
    old_key, old = make_certificate(tmp_path, "old")
    monkeypatch.setitem(machine.environment, "SOFTHSM2_CONF", os.environ["SOFTHSM2_CONF"])
    monkeypatch.setitem(machine.environment, "TOKEN_PIN", "2468")
    signers = {
        "old": {"certificate": str(old), "key_file": str(old_key)},
        "hsm": {"certificate": str(token["rsa"]), "digest": "sha512", "pkcs11": f"pkcs11:token=Vendor%20Token;object=rsa?module-path={_SOFTHSM}", "passphrase_env": "TOKEN_PIN", "pass_environment": ["SOFTHSM2_CONF"]},
        "kms": {"certificate": str(old), "command": ["sh", "-c", f"openssl pkeyutl -sign -inkey {old_key} -pkeyopt digest:{{algorithm}} | base64"]},
        "wrong": {"certificate": str(old), "pkcs11": f"pkcs11:token=Vendor%20Token;object=rsa?module-path={_SOFTHSM}", "passphrase_env": "TOKEN_PIN", "pass_environment": ["SOFTHSM2_CONF"]},
    }  # fmt: skip
    configure(project, signers, "old")
    (first,) = cells(machine.build(project, "--kernel", _KERNEL)[1], 0)
    assert first["status"] == "built"
    configure(project, signers, "old", "hsm")
    (both,) = cells(machine.build(project, "--kernel", _KERNEL)[1], 0)
    assert (both["status"], both["reason"]) == ("assembled", "signer-changed")
    assert "nothing is compiled" in both["explanation"]
    fitted = json.loads(machine.builder(project, "fit", both["image"], "--json", check=True).stdout)
    assert (fitted["fits"], len(fitted["signers"])) == (True, 2)
    configure(project, signers, "hsm")
    (last,) = cells(machine.build(project, "--kernel", _KERNEL)[1], 0)
    assert last["status"] == "assembled"
    configure(project, signers, "kms")
    (again,) = cells(machine.build(project, "--kernel", _KERNEL)[1], 0)
    assert again["digest"] == first["digest"], "the same key by another way makes the same image"
    log = json.loads(machine.builder(project, "keys", "log", "--json", check=True).stdout)
    assert [entry["signer"] for entry in log].count("hsm") == 6
    configure(project, signers, "wrong")
    refused = machine.builder(project, "build", "--kernel", _KERNEL, "--force")
    assert (refused.returncode, "does not belong to the certificate" in refused.stderr) == (9, True)
    configure(project, signers)
    refused = machine.builder(project, "build", "--kernel", _KERNEL)
    assert (refused.returncode, "names no signer" in refused.stderr) == (9, True)


def test_signing_files_and_images_by_hand(machine: Machine, project: Path, tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path, "vendor")
    other_key, other = make_certificate(tmp_path, "other")
    configure(
        project,
        {
            "vendor": {"certificate": str(certificate), "key_file": str(key)},
            "other": {"certificate": str(other), "key_file": str(other_key)},
        },
        signing="optional",
    )
    (built,) = cells(machine.build(project, "--kernel", _KERNEL)[1], 0)
    signed = machine.builder(project, "sign", "--signer", "vendor", "--tag", "localhost/by-hand:1", built["image"])
    assert signed.returncode == 0, signed.stderr
    told = json.loads(machine.buildah("inspect", "--type", "image", "localhost/by-hand:1"))
    for place in (told["OCIv1"]["config"]["Labels"], told["ImageAnnotations"]):
        assert not place["io.kmodsmith.cell.key"], "it is no cell any more"
        assert not place["io.kmodsmith.cell"]
    assert told["OCIv1"]["config"]["Labels"]["io.kmodsmith.origin.digest"] == built["digest"]
    proof = machine.builder(project, "fit", "localhost/by-hand:1", "--certificate", str(certificate))
    assert proof.returncode == 0, proof.stdout + proof.stderr
    proof = machine.builder(project, "fit", "localhost/by-hand:1", "--certificate", str(other))
    assert (proof.returncode, "signed-by-other" in proof.stdout) == (14, True)
    proof = machine.builder(project, "fit", built["image"], "--certificate", str(certificate))
    assert (proof.returncode, "signature-missing" in proof.stdout) == (14, True)
    module = tmp_path / "x.ko"
    shutil.copy(_MODULE, module)
    assert "signed  " in machine.builder(project, "sign", "--signer", "vendor", str(module), check=True).stdout
    assert "signed already" in machine.builder(project, "sign", "--signer", "vendor", str(module), check=True).stdout
    refused = machine.builder(project, "sign", "--signer", "other", str(module))
    assert (refused.returncode, "with a signature already" in refused.stderr) == (14, True)
    assert (
        "signed again"
        in machine.builder(project, "sign", "--signer", "other", "--replace", str(module), check=True).stdout
    )


def test_no_trace_of_the_key(machine: Machine, project: Path, tmp_path: Path) -> None:
    """Search images, logs, argument lists, environments and the memory of the build for a key; it is in none.

    The key is given with a passphrase, and both are searched for. While cells are being built, every process of the
    run is looked at; the process that holds the key may leave no core.
    """
    key, certificate = make_certificate(tmp_path, "canary")
    _run(
        "openssl",
        "rsa",
        "-in",
        str(key),
        "-aes256",
        "-passout",
        "pass:canary-passphrase",
        "-out",
        str(tmp_path / "locked.key"),
    )
    (tmp_path / "locked.key").chmod(0o600)
    (tmp_path / "pass").write_text("canary-passphrase\n")
    (tmp_path / "pass").chmod(0o600)
    needles = _needles(key)
    key.unlink()
    configure(
        project,
        {
            "canary": {
                "certificate": str(certificate),
                "key_file": str(tmp_path / "locked.key"),
                "passphrase_file": str(tmp_path / "pass"),
            }
        },
        "canary",
    )
    command = [sys.executable, "-m", "builder", "--project", str(project), "-v", "build", "--kernel", "6.1.*"]
    command += ["--allow-outside", str(tmp_path)]
    output = tmp_path / "output"
    with output.open("wb") as stream:
        build = subprocess.Popen(
            command, env=machine.environment, stdout=stream, stderr=stream, cwd=tmp_path, start_new_session=True
        )
        looked_at = _watch(build, needles)
    assert build.returncode == 0, output.read_text()
    assert looked_at["build memory"] > 0
    assert looked_at["holders"] > 0
    assert looked_at["children"] > 0
    for file in [output, *(file for file in (project / ".kmodsmith").rglob("*") if file.is_file())]:
        assert not any(needle in file.read_bytes() for needle in needles), file
    (image, *_) = [name for name in _image_names(machine) if "localhost/ptemplate:" in name and "6.1." in name]
    machine.buildah("push", "--quiet", "--disable-compression", image, f"dir:{tmp_path}/pushed")
    for file in (tmp_path / "pushed").iterdir():
        assert not any(needle in file.read_bytes() for needle in needles), file
    assert list(tmp_path.glob("core*")) == []


def _needles(key: Path) -> list[bytes]:
    """What a key looks like in memory, in PEM, in DER and as numbers, and its passphrase."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(loaded, rsa.RSAPrivateKey)
    numbers = loaded.private_numbers()
    raw = [number.to_bytes(128, order) for number in (numbers.p, numbers.q) for order in ("big", "little")]
    lines = key.read_bytes().splitlines()
    return [*raw, lines[5], lines[10], b"canary-passphrase"]


def _watch(build: subprocess.Popen[bytes], needles: list[bytes]) -> dict[str, int]:
    looked_at = {"build memory": 0, "holders": 0, "children": 0}
    while build.poll() is None:
        for process in _family(build.pid):
            try:
                words = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                is_holder = b"builder.signing.holder" in (process / "cmdline").read_bytes()
            except OSError:
                continue
            assert not any(needle in words for needle in needles), words
            looked_at["holders" if is_holder else "children"] += 1
            if is_holder:
                limits = (process / "limits").read_text()
                core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
                if looked_at["holders"] > 20:  # it has had time to start
                    assert core.split()[4:6] == ["0", "0"], core
        if looked_at["holders"] and looked_at["build memory"] < 3:
            os.kill(build.pid, signal.SIGSTOP)
            memory = _read_memory(build.pid)
            os.kill(build.pid, signal.SIGCONT)
            assert memory
            assert not any(needle in part for part in memory for needle in needles)
            looked_at["build memory"] += 1
        time.sleep(0.05)
    return looked_at


def _family(parent: int) -> list[Path]:
    """Return the processes of a session."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent_of = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent_of == parent or int(process.name) == parent:
            found.append(process)
    return found


def _read_memory(process: int) -> list[bytes]:
    """Return what a core of the process would hold."""
    parts = []
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if "r" not in rights or "[v" in line:
                continue
            start, end = (int(word, 16) for word in place.split("-"))
            try:
                memory.seek(start)
                parts.append(memory.read(end - start))
            except OSError:
                continue
    return parts


def test_reuse_and_compression_are_proven(machine: Machine, project: Path) -> None:
    """Modules of one kernel on another, and compressed; only where versions.yaml asks for it, and only if they fit."""
    file = project / "versions.yaml"
    kernels = sorted((raw for raw in _read_lock_kernels(project) if raw.endswith("+deb12-amd64")), key=_natural)
    older, newer = kernels[-2:]
    data = yaml.safe_load(file.read_text())
    data["drivers"][0] |= {"compress": "xz", "reuse": [{"kernel": newer, "compiled_for": older, "reason": "test"}]}
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    arguments = ("--group", "debian", "--kernel", older, "--kernel", newer)
    code, report = machine.build(project, *arguments)
    by_kernel = {cell["kernel"]: cell for cell in report["cells"]}
    assert by_kernel[older]["status"] == "built", report["failures"]
    compat = json.loads(machine.builder(project, "compat", "--json", *arguments[:2], "--kernel", older).stdout)
    assert compat["ptemplate"][0]["loads"] is True
    if code == 0:
        with machine.mounted(by_kernel[newer]["image"]) as root:
            (core,) = root.glob(f"opt/lib/modules/{newer}/extra/ptemplate_core.ko.xz")
            assert older in _run("modinfo", "-F", "vermagic", str(core)).stdout
            assert "ptemplate_char.ko.xz: extra/ptemplate_core.ko.xz" in (core.parents[1] / "modules.dep").read_text()
        shown = machine.builder(project, "drift", older, newer, *arguments[:2], "--json", check=True)
        changes = [item["change"] for item in json.loads(shown.stdout)["ptemplate"]]
        assert not any("type changed" in change for change in changes)
    else:
        assert report["failures"][0]["code"] == "wrong-symbol-version"
    data["drivers"][0]["reuse"][0]["compiled_for"] = next(
        raw
        for raw in _read_lock_kernels(project)
        if raw.startswith("6.1.0-") and raw.endswith("-amd64") and "rt" not in raw and "cloud" not in raw
    )
    file.write_text(yaml.safe_dump(data, sort_keys=False))
    code, report = machine.build(project, *arguments[:2], "--kernel", newer)
    assert code in {12, 13}
    assert report["failures"][0]["code"] in {"symbol-missing", "wrong-symbol-version"}


def _read_lock_kernels(project: Path) -> list[str]:
    return list(yaml.safe_load((project / "versions.lock.yaml").read_text())["sources"]["debian"]["kernels"])


def _natural(raw: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", raw)]
