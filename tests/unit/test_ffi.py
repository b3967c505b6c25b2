"""The block store and the batched handler behind it, called as JAX calls them."""

from __future__ import annotations

import gc
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.errors import JaxRuntimeError

from phasic_mpi import _core, ffi

OK, CANCELLED, BAD_INDEX = 0, 1, 3


def ring(n_vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertex i leads to i + 1 only, the last to the first."""
    row_ptr = np.arange(n_vertices + 1, dtype=np.int64)
    return row_ptr, np.roll(np.arange(n_vertices, dtype=np.int32), -1)


def rows_of(store: _core.BlockStore, handles: list[int]) -> np.ndarray:
    return np.array([(store.id, handle) for handle in handles], dtype=np.uint32)


def run(rows: np.ndarray, n_threads: int = 2) -> list[int]:
    status = ffi.record_vmap(rows, device=ffi.cpu_devices()[0], n_threads=n_threads)
    assert status.dtype == np.int32
    return status.tolist()


def test_status_names_are_those_of_the_core():
    assert _core.STATUS_NAMES[OK] == "ok"
    assert _core.STATUS_NAMES[CANCELLED] == "cancelled"
    assert "out of range" in _core.STATUS_NAMES[BAD_INDEX]


def test_a_batch_gives_a_status_per_row_and_leaves_padding_alone():
    store = _core.BlockStore()
    row_ptr, col = ring(5)
    bad_col = col.copy()
    bad_col[2] = 5
    good, bad = store.put(row_ptr, col), store.put(row_ptr, bad_col)
    assert run(rows_of(store, [0, bad, 0, good])) == [OK, BAD_INDEX, OK, OK]
    assert (store.n_done, store.size) == (2, 2)
    # Every elimination from a ring leaves a smaller ring: one entry of fill, down to two vertices.
    order, lu_row_ptr, upper_ptr, lu_col, edge_slot = store.take(good)
    assert [array.dtype for array in (order, lu_col)] == [np.int32] * 2
    assert [array.dtype for array in (lu_row_ptr, upper_ptr, edge_slot)] == [np.int64] * 3
    assert sorted(order.tolist()) == [0, 1, 2, 3, 4]
    assert lu_row_ptr[-1] == lu_col.size == 5 + 3
    assert store.size == 1


def test_rows_of_several_stores_may_share_a_batch():
    first, second = _core.BlockStore(), _core.BlockStore()
    handles = first.put(*ring(3)), second.put(*ring(4))
    rows = np.concatenate([rows_of(first, [handles[0]]), rows_of(second, [handles[1]])])
    assert run(rows) == [OK, OK]
    assert first.take(handles[0])[0].size == 3
    assert second.take(handles[1])[0].size == 4


def test_taken_arrays_own_their_memory_and_outlive_the_store():
    store = _core.BlockStore()
    handle = store.put(*ring(1000))
    store.record(handle)
    order, *_ = store.take(handle)
    owner = order.base
    assert type(owner).__name__ == "PyCapsule"
    del store
    gc.collect()
    assert np.array_equal(np.sort(order), np.arange(1000))


def test_the_store_keeps_a_copy_of_the_edges():
    store = _core.BlockStore()
    row_ptr, col = ring(4)
    handle = store.put(row_ptr, col)
    col[:] = -7
    assert store.record(handle) == OK


def test_a_user_who_enabled_x64_gets_the_same():
    store = _core.BlockStore()
    with jax.enable_x64(True):
        assert run(rows_of(store, [store.put(*ring(3))])) == [OK]
        assert jnp.ones(1).dtype == jnp.float64
    assert run(rows_of(store, [store.put(*ring(3))])) == [OK]
    assert jnp.ones(1).dtype == jnp.float32


def test_more_rows_than_the_pool_has_threads_are_all_recorded():
    store = _core.BlockStore()
    handles = [store.put(*ring(3 + index % 50)) for index in range(5000)]
    assert set(run(rows_of(store, handles), n_threads=64)) == {OK}
    assert [store.take(handle)[0].size for handle in handles[:100]] == [
        3 + index % 50 for index in range(100)
    ]


def test_a_broken_row_fails_the_call_after_the_others_were_recorded():
    store = _core.BlockStore()
    handles = [store.put(*ring(3)) for _ in range(3)]
    unknown = 10_000
    with pytest.raises(JaxRuntimeError, match="block handle 10000: no such block is held"):
        run(rows_of(store, [handles[2], unknown, handles[0]]), n_threads=1)
    assert store.n_done == 2
    assert store.take(handles[0])[0].size == 3
    with pytest.raises(ValueError, match="is not recorded"):
        store.take(handles[1])


def test_a_block_is_recorded_once():
    store = _core.BlockStore()
    handle = store.put(*ring(3))
    assert store.record(handle) == OK
    with pytest.raises(JaxRuntimeError, match="is recorded already"):
        run(rows_of(store, [handle]))
    with pytest.raises(ValueError, match="is recorded already"):
        store.record(handle)


def test_a_call_that_outlives_its_store_fails_and_does_not_crash():
    store = _core.BlockStore()
    rows = rows_of(store, [store.put(*ring(3))])
    gone = store.id
    del store
    gc.collect()
    with pytest.raises(JaxRuntimeError, match=f"no block store has id {gone}"):
        run(rows)


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_rows_of_another_shape_break_the_contract(shape):
    with pytest.raises(JaxRuntimeError, match=r"expected an operand uint32\[\.\.\., 2\]"):
        run(np.zeros(shape, dtype=np.uint32))


def test_rows_of_another_dtype_break_the_contract():
    with pytest.raises(JaxRuntimeError, match="Wrong buffer dtype"):
        run(np.zeros((4, 2), dtype=np.int32))


def test_no_threads_break_the_contract():
    with pytest.raises(JaxRuntimeError, match="n_threads is 0"):
        run(np.zeros((4, 2), dtype=np.uint32), n_threads=0)


def test_handles_that_are_not_held_are_refused():
    store = _core.BlockStore()
    handle = store.put(*ring(3))
    store.drop(handle)
    store.drop(handle)
    assert store.size == 0
    for call in (store.record, store.take):
        with pytest.raises(ValueError, match=f"block handle {handle}: no such block is held"):
            call(handle)


def test_put_refuses_other_dtypes_instead_of_copying():
    store = _core.BlockStore()
    row_ptr, col = ring(3)
    with pytest.raises(TypeError):
        store.put(row_ptr.astype(np.int32), col)
    with pytest.raises(TypeError):
        store.put(row_ptr, col.astype(np.int64))


def test_a_cancelled_store_records_nothing():
    store = _core.BlockStore()
    handles = [store.put(*ring(3)) for _ in range(2)]
    assert not store.cancelled
    store.cancel()
    assert store.cancelled
    assert run(rows_of(store, handles)) == [CANCELLED, CANCELLED]
    with pytest.raises(ValueError, match="is not recorded"):
        store.take(handles[0])


def test_other_python_threads_run_while_a_block_is_recorded():
    # A dense pattern: about 0.2 s in C++, in which this thread must be able to count.
    n_vertices = 3000
    rng = np.random.default_rng(1)
    target = np.sort(rng.permuted(np.tile(np.arange(n_vertices), (40, 1)), axis=1), axis=0).T
    rows = [np.setdiff1d(row, [vertex]) for vertex, row in enumerate(target)]
    row_ptr = np.concatenate([[0], np.cumsum([row.size for row in rows])]).astype(np.int64)
    store = _core.BlockStore()
    handle = store.put(row_ptr, np.concatenate(rows).astype(np.int32))
    worker = threading.Thread(target=store.record, args=(handle,))
    interval = sys.getswitchinterval()
    counted = 0
    worker.start()
    while worker.is_alive():
        worker.join(timeout=interval)
        counted += 1
    assert store.n_done == 1
    assert counted > 5
