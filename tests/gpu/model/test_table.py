import pandas as pd
import pytest

from lspsim.errors import ResultError
from lspsim.gpu.fit.gemm_table import read_gemm_table

ROWS = {"m": [128, 256], "n": [768, 768], "k": [768, 3072]}


def written(path, **columns):
    frame = pd.DataFrame(ROWS | columns)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize(
    ("column", "unit"),
    [("latency", 1e-3), ("latency_ms", 1e-3), ("latency_us", 1e-6), ("latency_s", 1.0)],
)
def test_units_of_the_latency_column(tmp_path, suffix, column, unit):
    table = read_gemm_table(written(tmp_path / f"t{suffix}", **{column: [2.0, 4.0]}))
    assert table.latency_s.tolist() == pytest.approx([2 * unit, 4 * unit])
    assert table.k.tolist() == [768, 3072]
    assert table.with_weights({(768, 3072)}).tolist() == [False, True]


def test_rows_of_one_number_format_are_taken(tmp_path):
    path = written(tmp_path / "t.csv", latency=[1.0, 2.0], gemm_dtype=["bfloat16", "fp8"])
    assert len(read_gemm_table(path, "bf16")) == 1
    assert len(read_gemm_table(written(path, latency=[1.0, 2.0], dtype=["BF16", "fp8"]))) == 1
    written(path, latency=[1.0, 2.0], gemm_dtype=["bfloat16", "fp8"])
    with pytest.raises(ResultError, match="no row is fp16; column 'gemm_dtype' has bfloat16, fp8"):
        read_gemm_table(path, "fp16")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no column 'latency'; the table has m, n, k"),
        ({"latency": [1.0, -2.0]}, r"column 'latency' must be above 0, but line 3 has -2\.0"),
        ({"latency": [1.0, float("nan")]}, "line 3 has nan"),
        ({"latency": [1.0, "slow"]}, "column 'latency' must be above 0, but line 3 has slow"),
        ({"latency": [1.0, 2.0], "latency_us": [1.0, 2.0]}, "both latency and latency_us"),
        ({"latency": [1.0, 2.0], "m": [0, 5]}, "column 'm' must be a whole number above 0"),
        ({"latency": [1.0, 2.0], "m": [128.5, 5]}, r"column 'm' must be .* line 2 has 128\.5"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path, columns, message):
    with pytest.raises(ResultError, match=message):
        read_gemm_table(written(tmp_path / "t.csv", **columns))


def test_lines_that_do_not_fit_the_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("m,n,k,latency\n\n128,768,768,0.01\n\n")
    assert len(read_gemm_table(path)) == 1
    path.write_text("m,n,k,latency\n\n128,768,768,x\n")
    with pytest.raises(ResultError, match="line 3 has x"):
        read_gemm_table(path)
    path.write_text("m,n,k,latency\n128,768,768,0.01,5,6\n1,2\n")
    with pytest.raises(ResultError, match="line 2 has more values than the header"):
        read_gemm_table(path)
    path.write_text("m,n,k,latency\n128,768,768,0.01\n128,768\n")
    with pytest.raises(ResultError, match="column 'k' must be a whole number above 0, but line 3"):
        read_gemm_table(path)


def test_rows_of_a_parquet_file_are_counted_from_0(tmp_path):
    path = written(tmp_path / "t.parquet", latency=[1.0, -2.0])
    with pytest.raises(ResultError, match="row 1 has -2"):
        read_gemm_table(path)


def test_missing_columns_and_files(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("M,N,latency\n1,2,3\n")
    with pytest.raises(ResultError, match="no column 'm', 'n', 'k'; the table has M, N, latency"):
        read_gemm_table(path)
    with pytest.raises(ResultError, match="there is no such file"):
        read_gemm_table(tmp_path / "no.csv")
    path.write_text("")
    with pytest.raises(ResultError, match="is no table"):
        read_gemm_table(path)
    broken = tmp_path / "t.parquet"
    broken.write_text("no parquet")
    with pytest.raises(ResultError, match="is no table"):
        read_gemm_table(broken)
    (tmp_path / "t.xlsx").touch()
    with pytest.raises(ResultError, match=r"give a \.parquet or \.csv"):
        read_gemm_table(tmp_path / "t.xlsx")
