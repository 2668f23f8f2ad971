"""Pages of pictures and tables."""

from volseg.workflows.page import Section, Table


def test_a_picture_stands_above_its_table():
    html = Section("Scores", "Some.", b"", "a < b", Table(["a"], [["b"]])).to_html()
    places = [html.index(part) for part in ("<h2>Scores", "<p>Some.", "<img", "<table>")]
    assert places == sorted(places)
    assert 'alt="a &lt; b"' in html
