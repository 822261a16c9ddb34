"""Keys and signatures of model folders: OpenSSL agrees, and all else is rejected by name."""

import builtins
import os
import shutil
import stat
import subprocess

import pytest

from genir import signatures
from genir.errors import InputError, MissingPackage
from genir.manifest import check_manifest, write_manifest
from genir.signatures import (
    check_signature,
    key_id,
    make_keys,
    read_private_key,
    read_public_keys,
    sign_folder,
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"12345")
    write_manifest(folder, {"documents": 3})
    return folder


@pytest.fixture
def key(tmp_path):
    make_keys(tmp_path / "key")
    return tmp_path / "key"


def public(key):
    return key.with_name(key.name + ".pub")


def test_a_folder_is_signed_and_verified(folder, key):
    signed_by = sign_folder(folder, read_private_key(key))
    (own,) = read_public_keys(public(key))
    assert check_signature(folder, [own]) == signed_by == key_id(own)
    assert check_manifest(folder)["documents"] == 3  # the signature is no unlisted file
    assert sign_folder(folder, read_private_key(key)) == signed_by  # sign again
    assert sorted(os.listdir(folder)) == ["manifest.json", "manifest.sig", "weights"]
    write_manifest(folder, {"documents": 4})  # does not list the signature either
    assert set(check_manifest(folder)["files"]) == {"weights"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_openssl_agrees(folder, key):
    sign_folder(folder, read_private_key(key))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public(key), "-rawin",
               "-in", folder / "manifest.json", "-sigfile", folder / "manifest.sig"]  # fmt: skip
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_keys_are_not_replaced_and_only_their_owner_may_read_the_private_one(tmp_path, key):
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes(), public(key).read_bytes()
    with pytest.raises(InputError, match=rf"^{key}: exists already"):
        make_keys(key)
    key.rename(tmp_path / "other")
    with pytest.raises(InputError, match=rf"^{public(key)}: exists already"):
        make_keys(key)
    assert before == ((tmp_path / "other").read_bytes(), public(key).read_bytes())


def test_a_key_in_no_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none/key: cannot be written \(No such file"):
        make_keys(tmp_path / "none" / "key")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_private_key_that_others_may_read_is_refused(key, mode):
    key.chmod(mode)
    with pytest.raises(InputError, match=r"key: a private key that others may read; chmod 600"):
        read_private_key(key)


def encrypted(key):
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
    )

    private = read_private_key(key)
    secret = BestAvailableEncryption(b"secret")
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret)


def of_another_kind():
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    other = X25519PrivateKey.generate()
    spki = PublicFormat.SubjectPublicKeyInfo
    private = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private, other.public_key().public_bytes(Encoding.PEM, spki)


def test_a_file_that_is_not_a_private_key_is_refused(key):
    contents = [b"", b"x", public(key).read_bytes(), key.read_bytes()[:60], encrypted(key),
                of_another_kind()[0]]  # fmt: skip
    for content in contents:
        key.write_bytes(content)
        with pytest.raises(
            InputError, match=r"key: not a private ed25519 key in PEM without a passp"
        ):
            read_private_key(key)


def test_several_public_keys_and_comments_are_read(tmp_path, key):
    make_keys(tmp_path / "second")
    text = f"# ours\n{public(key).read_text()}\n# theirs\n{(tmp_path / 'second.pub').read_text()}"
    (tmp_path / "trusted").write_text(text)
    ids = [key_id(one) for one in read_public_keys(tmp_path / "trusted")]
    assert ids == [key_id(read_public_keys(public(tmp_path / n))[0]) for n in ("key", "second")]


def test_a_file_that_is_not_a_public_key_is_refused(tmp_path, key):
    good = public(key).read_text()
    for content, message in (
        ("", "0 public keys in 0 PEM blocks"),
        ("no key", "0 public keys in 0 PEM blocks"),
        (key.read_text(), "holds a private key"),
        (good + key.read_text(), "holds a private key"),
        (good[:60], "0 public keys in 1 PEM block"),
        (
            good + "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
            "1 public key in 2",
        ),
        (good + good.replace("MCow", "MCox"), "key 2 is not an ed25519 key"),
        (good + of_another_kind()[1].decode(), "key 2 is not an ed25519 key"),
    ):
        (tmp_path / "trusted").write_text(content)
        with pytest.raises(InputError, match=rf"^{tmp_path}/trusted: {message}"):
            read_public_keys(tmp_path / "trusted")
    with pytest.raises(InputError, match="no such file"):
        read_public_keys(tmp_path / "absent")


def test_every_altered_byte_of_manifest_and_signature_is_refused(folder, key):
    sign_folder(folder, read_private_key(key))
    own = read_public_keys(public(key))
    for name in ("manifest.json", "manifest.sig"):
        right = (folder / name).read_bytes()
        for place in range(len(right)):
            wrong = bytearray(right)
            wrong[place] ^= 1
            (folder / name).write_bytes(wrong)
            with pytest.raises(
                InputError, match=r"manifest\.sig: not a signature of manifest\.jso"
            ):
                check_signature(folder, own)
        (folder / name).write_bytes(right)
    check_signature(folder, own)


def test_a_foreign_or_missing_signature_is_refused(folder, key, tmp_path):
    own = read_public_keys(public(key))
    with pytest.raises(InputError, match=rf"^{folder}: not signed; get it"):
        check_signature(folder, own)
    make_keys(tmp_path / "foreign")
    sign_folder(folder, read_private_key(tmp_path / "foreign"))
    with pytest.raises(InputError, match=rf"by a trusted key \({key_id(own[0])}\)"):
        check_signature(folder, own)
    with pytest.raises(InputError, match="by a trusted key"):
        check_signature(folder, [])


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_size_is_refused(folder, key, size):
    (folder / "manifest.sig").write_bytes(b"x" * size)
    with pytest.raises(InputError, match=r"manifest\.sig: (not a signature|more than 64 bytes)"):
        check_signature(folder, read_public_keys(public(key)))


@pytest.mark.parametrize("target", ["/dev/zero", "../outside", "nothing"])
def test_a_signature_outside_the_folder_is_refused(folder, key, target):
    sign_folder(folder, read_private_key(key))
    (folder / "manifest.sig").rename(folder.parent / "outside")
    (folder / "manifest.sig").symlink_to(target)
    with pytest.raises(InputError, match=r"manifest\.sig: not a regular file inside"):
        check_signature(folder, read_public_keys(public(key)))
    with pytest.raises(InputError, match=r"manifest\.sig: not a regular file inside"):
        check_manifest(folder)


def test_a_damaged_folder_is_not_signed(folder, key):
    (folder / "weights").write_bytes(b"54321")
    with pytest.raises(InputError, match=r"weights: not the file that was saved"):
        sign_folder(folder, read_private_key(key))
    assert not (folder / "manifest.sig").exists()


@pytest.mark.parametrize("name", ["absent", "model/weights"])
def test_a_folder_that_is_not_a_model_is_named(tmp_path, folder, key, name):
    for work in (
        lambda: sign_folder(tmp_path / name, read_private_key(key)),
        lambda: check_signature(tmp_path / name, read_public_keys(public(key))),
    ):
        with pytest.raises(InputError, match=rf"^{tmp_path}/{name}"):
            work()


def test_the_missing_package_is_named(key, monkeypatch):
    load = builtins.__import__

    def absent(name, *arguments, **named):
        if name.partition(".")[0] == "cryptography":
            raise ImportError(name)
        return load(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    for work in (lambda: make_keys(key), lambda: signatures.read_public_keys(public(key))):
        with pytest.raises(MissingPackage, match=r"pip install 'genir\[signing\]'"):
            work()
