"""Scores a Parquet table by an Isolation Forest of 100 trees of 256 rows, on one core.

score_forest.py (scikit-learn|onnxruntime) TABLE SCORES

Columns are x00 ... x31. The forest is grown from the first 100,000 rows. Prints processor seconds of scoring alone.
"""

import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.ensemble import IsolationForest

COLUMNS = [f"x{number:02}" for number in range(32)]


def scorer(library: str, taught: np.ndarray):
    forest = IsolationForest(n_estimators=100, max_samples=256, random_state=1, n_jobs=1).fit(taught)
    if library == "scikit-learn":
        return lambda rows: -forest.score_samples(rows)
    import onnxruntime
    from skl2onnx import to_onnx

    onnx = to_onnx(forest, taught[:1], target_opset={"": 15, "ai.onnx.ml": 3})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda rows: session.run(["scores"], {name: rows})[0].ravel()


def main() -> None:
    library, table, to = sys.argv[1:]
    read = pq.read_table(table, columns=COLUMNS, use_threads=False)
    rows = np.column_stack([column.to_numpy() for column in read.columns]).astype(np.float32)
    score = scorer(library, rows[:100_000])
    begin = time.process_time()
    scores = score(rows)
    print(time.process_time() - begin)
    pq.write_table(pa.table({"score": scores}), to, compression="zstd", compression_level=1)


if __name__ == "__main__":
    main()
