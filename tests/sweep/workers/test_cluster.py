from alphapulse.sweep.workers.cluster import Cluster


def test_nodes_that_join_and_are_lost_are_told_in_a_line_each(capsys):
    cluster = Cluster.__new__(Cluster)
    cluster._nodes, cluster.left_out, cluster.n_cpus = {}, {"c" * 56: "numpy 1 instead of 2"}, 4
    first = {"a" * 56: "10.0.0.1", "c" * 56: "10.0.0.3"}
    cluster._tell_changes(first)
    cluster._tell_changes({"a" * 56: "10.0.0.1", "b" * 56: "10.0.0.2"})
    cluster._tell_changes({"b" * 56: "10.0.0.2"})
    assert capsys.readouterr().err.splitlines() == [
        "Node 10.0.0.2 (bbbbbbbb) joined; 4 CPUs.",
        "Node 10.0.0.1 (aaaaaaaa) was lost; 4 CPUs.",
    ]
