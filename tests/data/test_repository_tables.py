"""Tables of public repositories, rebuilt small: without names of columns, with thousands, beside images."""

import pytest
from layout_files import images, read, refused, text

# --- tables of images -------------------------------------------------------------------------------------------------


def test_coordinates_of_a_table_are_numbers_on_request(tmp_path):
    images(tmp_path, [f"i{k}" for k in range(12)], ".png")
    text(tmp_path / "labels.csv", "image_name,x,y\n" + "".join(f"i{k}.png,{k}.5,{k}\n" for k in range(12)))
    assert "use --target COLUMN" in refused(tmp_path)
    data = read(tmp_path, target="x")
    assert data.task == "regress"
    assert sorted(data.targets[:, 0].tolist()) == [k + 0.5 for k in range(12)]


def test_a_format_without_its_table_is_refused(tmp_path):
    images(tmp_path, ["a", "b"])
    assert "must be a table with a column of images" in refused(tmp_path, format="csv-images")


# --- tables of numbers ------------------------------------------------------------------------------------------------

IRIS = [f"{5 + k % 7 / 10},{3 + k % 5 / 10},{('setosa', 'virginica')[k % 2]}" for k in range(40)]


def test_the_first_line_of_a_table_without_names_is_a_row(tmp_path):
    text(tmp_path / "iris.csv", "\n".join(IRIS))
    message = refused(tmp_path / "iris.csv")
    assert "has no line of column names, its first line seems to contain values (5.0, 3.0, setosa)" in message
    assert "--target 'column 3'" in message
    for target in ("column 3", "3"):
        data = read(tmp_path / "iris.csv", target=target)
        assert len(data) == 40
        assert data.classes == ("setosa", "virginica")
        assert data.name_of(0) == "iris.csv line 1"


@pytest.mark.parametrize(
    "header",
    [
        "width,height,species",
        "1990,1991,species",  # years
        "0,1,species",  # numbers of pixels
    ],
)
def test_names_of_columns_are_no_row(tmp_path, header):
    text(tmp_path / "iris.csv", "\n".join([header, *IRIS]))
    data = read(tmp_path / "iris.csv", target="species")
    assert len(data) == 40
    assert list(data.inputs.columns) == header.split(",")[:2]


def test_names_over_texts_of_their_own_are_no_row(tmp_path):
    text(tmp_path / "gdp.csv", "country,1990,1995\n" + "".join(f"c{k},{k}.5,{k}.25\n" for k in range(20)))
    assert len(read(tmp_path / "gdp.csv", target="1995")) == 20


@pytest.mark.parametrize("end", ["", "\r", "\r\n"])
def test_lines_that_end_in_a_carriage_return_alone(tmp_path, end):
    text(tmp_path / "iris.csv", "\r".join(["width,height,species", *IRIS]) + end)
    assert len(read(tmp_path / "iris.csv", target="species")) == 40


def test_a_column_that_numbers_the_rows_is_named(tmp_path):
    text(
        tmp_path / "iris.csv", "\n".join(["Id,width,height,species", *(f"{k + 1},{row}" for k, row in enumerate(IRIS))])
    )
    assert any(
        "column 'Id' numbers the rows" in str(note) for note in read(tmp_path / "iris.csv", target="species").notes
    )


def test_an_archive_beside_its_table_is_no_obstacle(tmp_path):
    text(tmp_path / "iris.csv", "\n".join(["width,height,species", *IRIS]))
    (tmp_path / "iris.zip").write_bytes(b"PK\3\4")
    assert len(read(tmp_path, target="species")) == 40


@pytest.mark.parametrize("separator", [",", "\t"])
def test_commas_between_thousands(tmp_path, separator):
    values = ["599.994", "1,051.606", "12,345.5", "1,234,567"] * 5
    lines = [separator.join((f"c{k % 7}", f'"{value}"')) for k, value in enumerate(values)]
    text(tmp_path / "gdp.csv", "\n".join([f"country{separator}gdp", *lines]))
    data = read(tmp_path / "gdp.csv", target="gdp")
    assert data.task == "regress"
    assert data.targets[:4, 0].tolist() == pytest.approx([599.994, 1051.606, 12345.5, 1234567])
    assert any("thousands separators" in str(note) for note in data.notes)


def test_lists_of_two_numbers_are_no_thousands(tmp_path):
    text(tmp_path / "t.csv", "a,b\n" + "".join(f'"{k},{k}",{k % 2}\n' for k in range(20)))
    assert not any("thousands" in str(note) for note in read(tmp_path / "t.csv", target="b").notes)


def test_class_folders_get_the_names_of_a_table(tmp_path):
    for name in ("0", "1", "2"):
        images(tmp_path / "train" / name, [f"{name}_{k}" for k in range(5)])
    text(tmp_path / "labels.csv", "Name,ClassID\nSpeed limit,0\nStop,1\nYield,2\nNo entry,3\n")
    data = read(tmp_path)
    assert data.classes == ("Speed limit", "Stop", "Yield")
    assert any("names in labels.csv" in str(note) for note in data.notes)
