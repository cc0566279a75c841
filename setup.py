"""Package metadata; the supported installation is `make setup`, from the hash-pinned locks."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def read_version() -> str:
    """Gives `__version__` from the package, without importing it."""
    text = (ROOT / "odapi_repro" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError('odapi_repro/__init__.py: no line of the form __version__ = "..."')
    return match.group(1)


def read_description() -> str:
    """Gives README.md, or nothing where it is not part of the checkout."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


# Enough to read, diagnose, score and report. The OD API's protos come from
# tf-object-detection-api, which is not named here: its own requirements (apache-beam, an old
# pyparsing ...) would come with it and do not resolve. The locks install it without them.
LIGHT = [
    "absl-py>=2.1",
    "google-crc32c>=1.5",
    "hotcoco>=1.3",
    "matplotlib>=3.8",
    "msgspec>=0.19",
    "numpy>=1.26",
    "opencv-python-headless>=4.8",
    "pandas>=3.0",
    "pillow>=10.3",
    "protobuf>=4.21",
    "pycocotools>=2.0.8",
    "scipy>=1.13",
]
# What training imports from TensorFlow's side. tf-models-official and tf-slim are left to the
# locks for the same reason as above.
TENSORFLOW = [
    "gin-config>=0.5",
    "pyyaml>=6.0",
    "tensorflow>=2.15.1,<2.21",
    "tf-keras>=2.15,<2.21",
]

setup(
    name="odapi-repro",
    version=read_version(),
    description="Why does my TensorFlow Object Detection API training not reach the reported mAP?",
    long_description=read_description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["odapi_repro", "odapi_repro.*"]),
    package_data={
        "odapi_repro": ["py.typed"],
        "odapi_repro.reference": ["**/*.csv", "**/*.json", "**/*.pbtxt"],
        "odapi_repro.datasets": ["**/*.pbtxt", "**/*.json"],
        "odapi_repro.diagnosis": ["**/*.csv", "**/*.json"],
    },
    python_requires=">=3.11,<3.14",
    install_requires=LIGHT,
    extras_require={"tensorflow": TENSORFLOW},
    entry_points={"console_scripts": ["odapi-repro = odapi_repro.__main__:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
