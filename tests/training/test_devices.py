"""Which strategy is asked for, told by a TensorFlow that only writes down what it was asked."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from odapi_repro.errors import EnvironmentMissing, UserError
from odapi_repro.training.training_loop import make_strategy


class FakeTensorFlow:
    """Physical devices by kind; records visibility, splits and the strategy."""

    def __init__(self, *, cpus: int = 1, gpus: int = 0, tpu_cores: int = 0) -> None:
        self.__version__ = "2.20.0"
        self.splits: dict[str, list[Any]] = {}
        self.visible: dict[str, Any] = {}
        self.tpu_cores = tpu_cores
        devices = {
            "CPU": [SimpleNamespace(name=f"/physical_device:CPU:{i}") for i in range(cpus)],
            "GPU": [SimpleNamespace(name=f"/physical_device:GPU:{i}") for i in range(gpus)],
        }
        self.config = SimpleNamespace(
            list_physical_devices=lambda kind: devices.get(kind, []),
            set_visible_devices=lambda found, kind: self.visible.__setitem__(kind, found),
            LogicalDeviceConfiguration=lambda memory_limit=None: memory_limit,
            set_logical_device_configuration=lambda device, parts: self.splits.__setitem__(
                device.name, parts
            ),
            experimental_connect_to_cluster=lambda resolver: None,
        )
        self.errors = SimpleNamespace(OpError=RuntimeError)
        self.distribute = SimpleNamespace(
            MirroredStrategy=lambda names, cross_device_ops=None: SimpleNamespace(
                kind="mirrored", names=names, reduction=cross_device_ops
            ),
            ReductionToOneDevice=lambda: "one device",
            TPUStrategy=lambda resolver: SimpleNamespace(
                kind="tpu", num_replicas_in_sync=tpu_cores
            ),
            cluster_resolver=SimpleNamespace(TPUClusterResolver=self._resolver),
            experimental=SimpleNamespace(
                MultiWorkerMirroredStrategy=lambda: SimpleNamespace(
                    kind="multi_worker", num_replicas_in_sync=2
                )
            ),
        )
        self.tpu = SimpleNamespace(
            experimental=SimpleNamespace(initialize_tpu_system=lambda resolver: None)
        )

    def _resolver(self, name: str | None) -> Any:
        if not self.tpu_cores:
            raise ValueError("Please provide a TPU Name to connect to.")
        return name


@pytest.fixture
def tensorflow(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(**devices: int) -> FakeTensorFlow:
        fake = FakeTensorFlow(**devices)
        monkeypatch.setitem(sys.modules, "tensorflow", fake)
        return fake

    return install


def test_four_replicas_on_one_cpu_are_four_logical_devices(tensorflow: Any) -> None:
    fake = tensorflow()
    strategy = make_strategy(device="cpu", num_replicas=4)
    assert strategy.names == ["/cpu:0", "/cpu:1", "/cpu:2", "/cpu:3"]
    assert len(fake.splits["/physical_device:CPU:0"]) == 4


def test_on_cpu_gpus_stay_hidden(tensorflow: Any) -> None:
    fake = tensorflow(gpus=2)
    assert make_strategy(device="cpu", num_replicas=1).names == ["/cpu:0"]
    assert fake.visible["GPU"] == []


def test_zero_replicas_take_every_gpu_without_splitting_any(tensorflow: Any) -> None:
    fake = tensorflow(gpus=4)
    strategy = make_strategy(device="gpu", num_replicas=0)
    assert len(strategy.names) == 4
    assert fake.splits == {}


def test_more_replicas_than_gpus_share_the_memory_of_the_first(
    tensorflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tensorflow(gpus=1)
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(stdout="81559\n"))
    strategy = make_strategy(device="gpu", num_replicas=4)
    parts = fake.splits["/physical_device:GPU:0"]
    assert len(strategy.names) == len(parts) == 4
    assert sum(parts) <= 81559
    # NCCL cannot reduce between logical devices of one GPU.
    assert strategy.reduction == "one device"


def test_a_gpu_that_is_not_there_is_an_error_that_says_so(tensorflow: Any) -> None:
    tensorflow()
    with pytest.raises(EnvironmentMissing, match="no GPU"):
        make_strategy(device="gpu", num_replicas=1)


def test_a_tpu_is_reached_by_its_name(tensorflow: Any) -> None:
    tensorflow(tpu_cores=8)
    strategy = make_strategy(device="tpu", num_replicas=0, tpu_name="grpc://ten")
    assert strategy.kind == "tpu"


def test_a_tpu_cannot_have_another_number_of_replicas_than_cores(tensorflow: Any) -> None:
    tensorflow(tpu_cores=8)
    with pytest.raises(UserError, match="this TPU make 8"):
        make_strategy(device="tpu", num_replicas=4)


def test_no_tpu_is_an_error_that_says_so(tensorflow: Any) -> None:
    tensorflow()
    with pytest.raises(EnvironmentMissing, match="no TPU could be reached"):
        make_strategy(device="cpu", num_replicas=0, use_tpu=True)


def test_several_workers_take_the_multi_worker_strategy(tensorflow: Any) -> None:
    tensorflow(gpus=1)
    strategy = make_strategy(device="gpu", num_replicas=0, num_workers=2)
    assert strategy.kind == "multi_worker"
