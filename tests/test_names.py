"""Names of concepts, from the tables and lists that come with labels."""

from dissect.sources.names import read_names, unique


def test_names_come_from_ade20ks_table_or_a_list(tmp_path):
    table = (
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.1576\t11664\t1172\t1\twall\n3 \t0.1\t9\t9\t0\tdoor, double door\n"
    )
    (tmp_path / "table.txt").write_text(table)
    assert read_names(tmp_path / "table.txt") == {1: "wall", 3: "door"}
    (tmp_path / "table.csv").write_text('Idx,Name\n2,"door;double door"\n')
    assert read_names(tmp_path / "table.csv") == {2: "door"}
    (tmp_path / "list.csv").write_text("\ufeffwall\r\n\r\ndoor\r\n", encoding="utf-8")
    assert read_names(tmp_path / "list.csv") == {1: "wall", 3: "door"}


def test_names_that_stand_twice_are_numbered_and_stay_different():
    assert unique(["tree", "tree 2", "tree", "tree"]) == ("tree", "tree 2", "tree 3", "tree 4")
