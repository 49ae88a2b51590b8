"""Makes the folder .venv with everything this project runs on, or sees within a moment that it is there.

    python3 bootstrap.py runtime      what `make demo` and `make up` need
    python3 bootstrap.py dev          also the tests and linters
    python3 bootstrap.py clean        removes .venv, caches and the sandbox with its data

Only the standard library, and only syntax that an old Python can read: it must be able to say that it is too old.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.abspath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
STAMP = os.path.join(VENV, "glp1-stamp.json")
UNFINISHED = os.path.join(VENV, "glp1-unfinished")
OLDEST, NEWEST = (3, 11), (3, 14)
# Shell and Python read this each in its own way; it allows a path with blanks, and a link to the script.
START = """'''exec' "$(dirname "$(readlink -f "$0")")/python" "$0" "$@"\n' '''\n"""
SHARED_PLACE = "/var/lib/glp1_pipeline/"


def fail(sentence):
    sys.stderr.write(sentence + "\n")
    sys.exit(1)


def main():
    wanted = sys.argv[1] if len(sys.argv) == 2 else ""
    if wanted == "clean":
        clean()
    elif wanted in ("is-done-runtime", "is-done-dev"):
        sys.exit(not is_done(wanted[8:]))
    elif wanted in ("runtime", "dev"):
        if not is_done(wanted):
            use_a_fitting_python()
            set_up(wanted)
    else:
        fail("Usage: python3 bootstrap.py runtime|dev|clean")


def fingerprint(wanted):
    digest = hashlib.sha256(ROOT.encode("utf-8", "surrogateescape"))
    for name in ("bootstrap.py", "requirements/uv.txt", "requirements/dbt.txt", "requirements/%s.txt" % wanted):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def is_done(wanted):
    """What was set up for development serves to run, too."""
    try:
        with open(STAMP) as file:
            stamp = json.load(file)
    except (OSError, ValueError):
        return False
    if os.path.exists(UNFINISHED) or not os.path.exists(PYTHON):
        return False
    return any(stamp.get(name) == fingerprint(name) for name in {wanted, "dev"})


def use_a_fitting_python():
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in (11, 12, 13, 14):
        path = shutil.which("python3.%d" % minor)
        if path and subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, *sys.argv])
    fail(
        "This is Python %d.%d (%s); Python %d.%d to %d.%d is needed and none was found. Install one, "
        "or name it: make PYTHON=/path/to/python3.11 ..." % (*sys.version_info[:2], sys.executable, *OLDEST, *NEWEST)
    )


def set_up(wanted):
    with open(os.path.join(ROOT, "bootstrap.py")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Another set-up is at work in this folder; waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_done(wanted):
            make(wanted)


def make(wanted):
    clean_env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    remove_half_made()
    os.makedirs(VENV, exist_ok=True)
    with open(UNFINISHED, "w"):  # before all else: a pip that was copied half can be imported, and fails later
        pass
    if not os.path.exists(PYTHON):
        print("Making .venv with Python %d.%d." % sys.version_info[:2], flush=True)
        result = subprocess.run(
            [sys.executable, "-m", "venv", VENV], env=clean_env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        if result.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            fail(
                "Python could not make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv. "
                "It said:\n" + result.stdout.decode("utf-8", "replace")
            )
    print("Installing the locked packages (%s). The first time takes about a minute." % wanted, flush=True)
    pinned = ["--require-hashes", "--only-binary", ":all:", "-r"]
    uv_lock = os.path.join(ROOT, "requirements", "uv.txt")
    step([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned, uv_lock], clean_env)
    lock = os.path.join(ROOT, "requirements", "%s.txt" % wanted)
    uv = [os.path.join(VENV, "bin", "uv"), "pip", "install", "--quiet", "--python", PYTHON, "--compile-bytecode"]
    dbt = os.path.join(ROOT, "requirements", "dbt.txt")
    # The locks name everything: nothing is resolved here, and dbt may have what `dbt-override.in` gives it.
    step([*uv, "--no-deps", *pinned, lock, "-r", dbt], {**clean_env, **uv_settings(clean_env)})
    add_ourselves(clean_env)
    with open(STAMP + ".new", "w") as file:
        json.dump({wanted: fingerprint(wanted)}, file)
    os.replace(STAMP + ".new", STAMP)
    os.remove(UNFINISHED)
    print("Set up.", flush=True)


def remove_half_made():
    """An install that was cut short may look whole. One that was made by hand is completed instead."""
    if not os.path.isdir(VENV):
        return
    if os.path.exists(UNFINISHED):
        print("An earlier set-up was cut short; making .venv anew.", flush=True)
    elif not works(PYTHON):
        print("The Python in .venv does not run (was it moved or updated?); making .venv anew.", flush=True)
    else:
        return
    shutil.rmtree(VENV)


def works(python):
    """It runs, is a fitting version, has pip, and belongs to this very folder (a copied .venv does not)."""
    code = "import sys, pip; print(sys.prefix); sys.exit(not %r <= sys.version_info[:2] <= %r)" % (OLDEST, NEWEST)
    try:
        result = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return result.returncode == 0 and os.path.realpath(os.fsdecode(result.stdout.strip())) == os.path.realpath(VENV)


def uv_settings(env):
    """uv does not read what was configured for pip (a mirror, its certificates): hand it on."""
    settings = {"UV_LINK_MODE": "copy"}
    listed = subprocess.run(
        [PYTHON, "-m", "pip", "config", "list"], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}
    for line in listed.stdout.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        name = names.get(key.rpartition(".")[2])
        if name and name not in env:
            settings[name] = " ".join(value.strip().strip("'\"").replace("\\n", " ").split())
    if "UV_INDEX" in settings:  # pip looks into all of them; what is taken is held to its hash in any case
        settings["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return settings


def step(argv, env):
    result = subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if result.returncode == 0:
        return
    said = result.stdout.decode("utf-8", "replace").strip()
    reason = "A package could not be installed; the next `make` begins anew."
    # The network first: pip ends with "no matching distribution" where it could not ask for any, too.
    if any(word in said.lower() for word in ("connect", "resolve host", "dns", "timed out", "certificate")):
        reason = "The package registry could not be reached. Check the network (or pip's configuration) and try again."
    elif "no matching distribution" in said.lower() or "no wheels" in said.lower() or "binary" in said.lower():
        reason = (
            "The package registry was not reached (check the network, or pip's configuration), or it has no ready-made "
            "wheel of a package for this system (%s, Python %d.%d), and nothing is compiled here. The locked versions "
            "were tried on Linux on x86-64 with Python 3.11." % (os.uname().machine, *sys.version_info[:2])
        )
    elif "hash" in said.lower():
        reason = "A downloaded package is not the one that was locked (its hash differs); it was not installed."
    fail("%s\nIt said:\n%s" % (reason, said[-3000:]))


def add_ourselves(env):
    """A path file and a script: an editable install would download tools to build with."""
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    packages = os.fsdecode(subprocess.check_output([PYTHON, "-c", code]).strip())
    with open(os.path.join(packages, "glp1_pipeline_here.pth"), "w", encoding="utf-8") as file:
        file.write(ROOT + "\n")
    script = os.path.join(VENV, "bin", "glp1")
    with open(script, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\n" + START)
        file.write("import sys\n\nfrom glp1_pipeline.cli import main\n\nsys.exit(main())\n")
    os.chmod(script, 0o755)
    subprocess.call([PYTHON, "-m", "compileall", "-q", os.path.join(ROOT, "glp1_pipeline")], env=env)


def clean():
    home = os.path.abspath(os.path.expanduser(os.environ.get("GLP1_HOME") or os.path.join(ROOT, ".glp1")))
    if os.path.isdir(home):
        if not os.path.exists(os.path.join(home, "state.json")) and os.listdir(home):
            fail("%s does not look like a sandbox of this project; nothing was removed." % home)
        with contextlib.ExitStack() as held:
            for lock in (os.path.join(home, "run", "supervisor.lock"), os.path.join(home, "postgres", "lock")):
                if os.path.exists(lock):
                    file = held.enter_context(open(lock))
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except OSError:
                        fail("%s is running. Stop it first (Ctrl-C where it was started)." % home)
        remove_place(home)
        shutil.rmtree(home)
        print("Removed the sandbox and its data: " + home)
    for name in (".venv", ".pytest_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis"):
        shutil.rmtree(os.path.join(ROOT, name), ignore_errors=True)
    for folder, names, _ in os.walk(ROOT):
        names[:] = [name for name in names if not name.startswith(".")]
        if "__pycache__" in names:
            names.remove("__pycache__")
            shutil.rmtree(os.path.join(folder, "__pycache__"), ignore_errors=True)
    print("Removed .venv and the caches.")


def remove_place(home):
    """Root's Postgres may keep its data elsewhere (adapters/postgres_place.py)."""
    try:
        with open(os.path.join(home, "state.json")) as file:
            place = json.load(file).get("postgres_place") or ""
    except (OSError, ValueError):
        return
    if os.path.realpath(place).startswith(SHARED_PLACE) and os.path.isdir(place):
        shutil.rmtree(place)
        print("Removed the database files: " + place)


if __name__ == "__main__":
    main()
