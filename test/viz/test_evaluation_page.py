"""The page of an evaluation holds everything itself and shows names as text, whatever stands in them."""

from __future__ import annotations

from pathlib import Path

from lift3d_ros.viz.evaluation_page import (
    EvaluationPage,
    PageChart,
    PagePicture,
    PictureGroup,
    write_evaluation_page,
)
from lift3d_ros.viz.report_content import ReportTable

EVIL = "</style><script>alert(1)</script>"


def test_names_are_text_and_nothing_is_fetched(tmp_path: Path) -> None:
    page = EvaluationPage(
        title=EVIL,
        subtitle=EVIL,
        headline=(("mAP", EVIL),),
        tables=(ReportTable(EVIL, ("class", EVIL), ((EVIL, "0.5"),), EVIL),),
        banner=EVIL,
        charts=(PageChart(EVIL, b"<svg/>", EVIL),),
        groups=(PictureGroup(EVIL, EVIL, (PagePicture(EVIL, b"\xff\xd8", EVIL),)),),
        facts={EVIL: EVIL},
    )
    write_evaluation_page(tmp_path / "new" / "report.html", page)
    text = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 12
    assert "default-src 'none'" in text
    assert "data:image/svg+xml;base64,PHN2Zy8+" in text
    assert "data:image/jpeg;base64,/9g=" in text
    assert "http://" not in text


def test_a_page_without_charts_and_pictures_is_whole(tmp_path: Path) -> None:
    write_evaluation_page(tmp_path / "report.html", EvaluationPage("Title", "nothing", (), ()))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>")
    assert "banner" not in text.split("</style>")[1]
