"""In a real browser: a lesson stops kindly, takes an answer, and all can read it."""

from __future__ import annotations

import copy
import io
import re

from course_tools.work.progress import read_exercises
from course_utils.checks.core import Check, Outcome
from course_utils.data.fashion_mnist import FASHION_MNIST_CLASSES
from tests import courses
from tests.browser import (
    CHROMIUM,
    NO_BROWSER,
    READY,
    run_chromium,
    run_lab,
    sit_down,
)
from tests.lessons import (
    EXERCISES,
    FIRST_PAGE,
    IDS,
    LESSONS,
    module,
    nbgrader,
    solution,
    student,
)

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from scipy.ndimage import distance_transform_edt

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=NO_BROWSER)

each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=IDS)
# The fewest seconds to its first exercise: neither TensorFlow nor torch.
LIGHTEST = LESSONS[6]
# Below each lesson's head.
SET_UP = 1

# What is cut off or runs over the edge; a table may be wider, and then scrolls.
CUT_OFF = """() => {
  const notebook = document.querySelector('.jp-Notebook');
  const prose = [...notebook.querySelectorAll('.jp-MarkdownCell .jp-RenderedMarkdown')];
  const figures = [...notebook.querySelectorAll('.jp-OutputArea-output img')];
  const texts = prose.flatMap(cell => [
    ...cell.querySelectorAll('p, li, h1, h2, h3, h4, blockquote, img')
  ]).filter(part => !part.closest('table'));
  const over = part => {
    const frame = part.closest('.jp-RenderedMarkdown, .jp-OutputArea-output');
    const edge = frame.getBoundingClientRect().right + 1;
    return part.getBoundingClientRect().right > edge
      || (part.tagName !== 'IMG' && part.scrollWidth > part.clientWidth + 1);
  };
  return {
    texts: texts.length,
    figures: figures.length,
    over: [...texts, ...figures].filter(over).map(part => part.outerHTML.slice(0, 200)),
    bar: notebook.scrollWidth - notebook.clientWidth,
  };
}"""
DRAWN = """([cells, figures]) => {
  const notebook = document.querySelector('.jp-Notebook');
  const pictures = [...notebook.querySelectorAll('img')];
  const prose = [...notebook.querySelectorAll('.jp-MarkdownCell')];
  return notebook.querySelectorAll('.jp-Cell').length === cells
    && prose.every(cell => cell.querySelector('.jp-RenderedMarkdown')?.textContent)
    && notebook.querySelectorAll('.jp-OutputArea-output img').length >= figures
    && pictures.every(picture => picture.complete && picture.naturalWidth);
}"""
# Over the map lies a box for each view, seen through until one points at a dot.
TOOLTIP = """canvas => {
  const boxes = [...document.querySelectorAll('[style*="opacity: 1"]')];
  const box = boxes.find(part => part.parentNode.contains(canvas)
    && part.querySelector('.garment-value-text')?.innerText);
  return box && [
    box.querySelector('.garment-value-text').innerText,
    box.querySelector('[style*="data:image/png"]') !== null,
  ];
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with run_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium():
    with run_chromium() as running:
        yield running


@pytest.fixture
def desk(chromium, lab, request):
    zoom = getattr(request, "param", 1)
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    with sit_down(chromium, lab, name, zoom) as desk:
        yield desk


def place_of(notebook, name):
    names = [nbgrader(cell).get("grade_id") for cell in notebook.cells]
    return names.index(name)


def place_with(notebook, text):
    return next(n for n, cell in enumerate(notebook.cells) if text in cell.source)


def solved(lesson, name):
    """The solution's answer, without the marks around it."""
    lines = courses.cell_named(solution(lesson), name).source.splitlines()
    return "\n".join(line for line in lines if not line.strip().startswith("### "))


def filled_in(lesson):
    """The student's notebook with every answer in it."""
    notebook = copy.deepcopy(student(lesson))
    return courses.solve(notebook, lesson, *courses.exercises(notebook))


def still_open(check: Check) -> str:
    return (
        f"{check.number} is still open. Write your answer in place of the `raise` "
        "line, run that cell, then this one again; "
        f"check.{check.__name__}.hint() helps."
    )


def answer_first_exercise(desk, lesson, *, paste, ran_all=True):
    """Answer wrongly, then rightly, after Run All has stopped at the check."""
    notebook = student(lesson)
    name = next(one.name for one in EXERCISES if one.lesson == lesson)
    check = getattr(module(lesson), name)
    task, judge = place_of(notebook, name), place_of(notebook, f"check-{name}")
    assert desk.output(judge) == still_open(check)
    for number, cell in enumerate(notebook.cells):
        if ran_all and cell.cell_type == "code":
            assert (desk.prompt(number) == "[ ]:") == (number > judge), number

    wrong, words = courses.plausible_mistake(lesson, name)
    desk.replace_by_typing(task, wrong.strip(), paste=paste)
    desk.run_and_read(task)
    said = desk.run_and_read(judge)
    assert said.startswith(f"{check.number} ") and said != still_open(check)
    assert words in said and "Traceback" not in said

    desk.replace_by_typing(task, solved(lesson, name), paste=paste)
    desk.run_and_read(task)
    assert desk.run_and_read(judge).startswith(f"✅ {check.number} ")


def test_the_keyboard_alone_opens_runs_and_answers_a_lesson(desk):
    desk.open(LIGHTEST.notebook.name)
    desk.run_menu("Run All Cells")
    desk.settle(SET_UP)
    answer_first_exercise(desk, LIGHTEST, paste=False)
    assert desk.page.evaluate("window.pointerEvents") == 0
    assert_progress_is_saved(desk, LIGHTEST)
    desk.open("progress.ipynb")
    said = desk.run_and_read(1)
    assert re.search(r"\b1 of \d+ exercises passed", said)
    first = next(one.name for one in EXERCISES if one.lesson == LIGHTEST)
    number = getattr(module(LIGHTEST), first).number
    assert number in said
    desk.open(LIGHTEST.notebook.name)
    desk.walk_to(0)
    desk.page.keyboard.press("b")
    desk.replace_by_typing(1, f"!course solution {number}", paste=True)
    said = desk.run_and_read(1)
    assert f"# {number} " in said and f"def {first}(" in said
    assert desk.page.evaluate("window.pointerEvents") == 0


def assert_progress_is_saved(desk, lesson):
    """A check's mark is in the saved notebook, and in the page there is none of it."""
    desk.page.evaluate("() => jupyterapp.commands.execute('docmanager:save')")
    saved = nbformat.read(desk.lab.folder / lesson.notebook.name, as_version=4)
    first, second, *_ = read_exercises(saved)
    assert (first.outcome, second.outcome) == (Outcome.PASSED, Outcome.OPEN)
    judge = place_of(saved, f"check-{first.name}")
    assert len(saved.cells[judge].outputs) == 2
    # What has no content takes no place.
    assert desk.cell(judge).locator(".jp-OutputArea-child").count() == 1


# What a student has no use for, although it may be installed here.
NOT_FOR_STUDENTS = """() => [
  ...document.querySelectorAll('.jp-Toolbar-item, .jp-LauncherCard, .lm-TabBar-tab')
].map(part => `${part.innerText} ${part.title} ${part.dataset.jpItemName || ''}`)
 .filter(words => /validate|assignment|formgrader|nbdime|git|jupytext/i.test(words))"""
OPENED = "[...jupyterapp.shell.widgets('main')].map(w => w.context?.path)"
CONTENTS = "() => document.querySelector('#table-of-contents')?.innerText"


def open_lab(desk):
    """Open JupyterLab as one does for the first time: no notebook is named."""
    desk.page.goto(f"{desk.lab.address}/lab?reset&token={desk.lab.token}")
    desk.page.wait_for_function(READY)


def test_jupyterlab_opens_on_the_first_page_with_its_contents_beside_it(desk):
    open_lab(desk)
    desk.page.wait_for_function(
        f"() => ({CONTENTS})()?.includes('When something is wrong')"
    )
    assert desk.page.locator("#table-of-contents").is_visible()
    assert desk.page.evaluate(OPENED) == [FIRST_PAGE.notebook.name]
    assert desk.page.evaluate(NOT_FOR_STUDENTS) == []
    # A picture or a question that comes later would lie over the page.
    assert desk.page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    desk.open(LIGHTEST.notebook.name)
    assert desk.page.evaluate(NOT_FOR_STUDENTS) == []


def test_the_address_of_a_folder_opens_on_its_first_page(desk):
    # As a hub's does, where the student's copies lie below the server's root.
    folder = desk.lab.folder / "course" / "work"
    folder.mkdir(parents=True)
    for name in (FIRST_PAGE.notebook.name, "images"):
        (folder / name).symlink_to(desk.lab.folder / name)
    place = f"lab/workspaces/{folder.parent.name}/tree/course/work"
    desk.page.goto(f"{desk.lab.address}/{place}?token={desk.lab.token}")
    desk.page.wait_for_function(READY)
    assert desk.page.evaluate(OPENED) == [f"course/work/{FIRST_PAGE.notebook.name}"]


def test_the_first_page_is_worked_through_with_the_keyboard_alone(desk):
    open_lab(desk)
    check = module(FIRST_PAGE).text_vector
    notebook = student(FIRST_PAGE)
    judge = place_of(notebook, "check-text_vector")
    desk.run_menu("Run All Cells")
    desk.settle(judge)
    desk.walk_to(judge)
    for number, hint in enumerate(check.hints[:2], 1):
        desk.page.keyboard.press("b")
        desk.page.keyboard.press("Enter")
        desk.page.keyboard.type("check.text_vector.hint()")
        desk.page.keyboard.press("Escape")
        asked = judge + number
        assert hint.replace("`", "") in desk.run_and_read(asked).replace("`", "")
        desk.walk_to(asked)
    answer_first_exercise(desk, FIRST_PAGE, paste=False, ran_all=False)
    below = place_with(notebook, '"great film"') + 2
    assert "great film [0.5 0.65 0.05]" in desk.run_and_read(below)
    assert desk.page.evaluate("window.pointerEvents") == 0


@pytest.mark.parametrize("trusted", [True, False])
def test_a_figure_in_jupyterlab_has_its_alternative_text(desk, trusted):
    notebook = copy.deepcopy(student(FIRST_PAGE))
    drawn = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\n"
    drawn += "plt.title('a line')\nplt.xlabel('batch')\nplt.show()"
    table = "pd.DataFrame({'a': [1]}, index=['x'])"
    notebook.cells = [notebook.cells[0], notebook.cells[2]]
    notebook.cells += [nbformat.v4.new_code_cell(one) for one in (drawn, table)]
    name = desk.lab.add(notebook, f"figure-{trusted}.ipynb")
    desk.open(name)
    if trusted:
        assert desk.run_all() is True
    else:
        run = NotebookClient(notebook, kernel_name="python3")
        run.execute(cwd=desk.lab.folder)
        # Without the new metadata, as notebooks from before hold them.
        notebook.cells[2].outputs[0].metadata = {}
        desk.open(desk.lab.add(notebook, "older.ipynb"))
    picture = desk.cell(2).locator("img")
    picture.wait_for()
    told = picture.get_attribute("alt")
    assert told == "a line" if not trusted else told.startswith("A line; lines; x axis")
    heads = desk.cell(3).locator("th")
    heads.first.wait_for()
    scopes = [one.get_attribute("scope") for one in heads.all()]
    assert scopes == ["col", "row"]


@pytest.mark.long
@each_lesson
def test_a_lesson_stops_kindly_and_takes_the_answer(lesson, desk):
    desk.open(lesson.notebook.name)
    assert desk.run_all() is False
    answer_first_exercise(desk, lesson, paste=True)


def open_stored(desk, lesson):
    """Open a solution with the outputs that it holds; nothing is run."""
    stored = solution(lesson)
    desk.open(desk.lab.add(stored, f"stored-{lesson.name}.ipynb"))
    figures = sum("image/png" in str(cell.get("outputs")) for cell in stored.cells)
    desk.page.wait_for_function(DRAWN, arg=[len(stored.cells), figures])


@pytest.mark.long
@each_lesson
@pytest.mark.parametrize("desk", [2], ids=["200-percent"], indirect=True)
def test_at_twice_the_size_no_text_or_figure_runs_over_the_edge(lesson, desk):
    open_stored(desk, lesson)
    # Without the list of files, as one reads with large letters.
    desk.page.keyboard.press("ControlOrMeta+b")
    desk.page.wait_for_function(
        "!document.querySelector('#jp-left-stack').offsetParent"
    )
    found = desk.page.evaluate(CUT_OFF)
    assert found["texts"] > 50 and found["figures"] > 0
    assert found["over"] == []
    assert found["bar"] <= 1


@pytest.mark.long
def test_the_map_of_garments_is_drawn_and_names_what_one_points_at(desk):
    lesson = LESSONS[4]
    notebook = filled_in(lesson)
    desk.open(desk.lab.add(notebook, f"filled-{lesson.name}.ipynb"))
    assert desk.run_all() is True
    cell = desk.cell(place_with(notebook, "jscatter.compose("))
    canvases = cell.locator("canvas").filter(visible=True)
    assert canvases.count() >= 2
    # The cell is taller than the window, and its last map below the edge.
    canvases.last.scroll_into_view_if_needed()
    drawn = Image.open(io.BytesIO(canvases.last.screenshot())).convert("RGB")
    dots = inside_dots(np.asarray(drawn))
    assert len(dots) == len(FASHION_MNIST_CLASSES)
    corner = canvases.last.bounding_box()
    named = set()
    for across, down in dots:
        desk.page.mouse.move(corner["x"] + across, corner["y"] + down)
        box = desk.page.wait_for_function(TOOLTIP, arg=canvases.last.element_handle())
        garment, has_picture = box.json_value()
        assert has_picture
        desk.shot("map-with-tooltip")
        named.add(garment)
        desk.page.mouse.move(0, 0)
        desk.page.wait_for_function(
            f"canvas => !({TOOLTIP})(canvas)", arg=canvases.last.element_handle()
        )
    # Where dots lie upon each other, the nearest centre may be that of a hidden one.
    assert len(named) >= 6 and named <= set(FASHION_MNIST_CLASSES)


def inside_dots(picture):
    """A place well inside a dot of each colour, as (x, y) in pixels."""
    places = []
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    for colour in colours[counts > 50]:
        same = (picture == colour).all(axis=2)
        depth = distance_transform_edt(np.pad(same, 1))[1:-1, 1:-1]
        # Rims blend into the white, in a colour of their own that is never deep.
        if np.ptp(colour) > 60 and depth.max() >= 2:
            down, across = np.unravel_index(depth.argmax(), depth.shape)
            places.append((int(across), int(down)))
    return places


@pytest.mark.long
@pytest.mark.parametrize(
    ("lesson", "placeholder", "typed"),
    [
        (
            LESSONS[5],
            "a surname, then Enter",
            {
                "Lindqvist": "distance",
                "…": "There is no letter in '…'",
                "Παπαδάκης": "Greek",
                "": "Type a surname first.",
            },
        ),
        (
            LESSONS[7],
            "a sentence, then Enter",
            {
                "goalie in overtime": "Sports",
                "": "Type a sentence first.",
                "Ἀθήνα": "tuned",
            },
        ),
    ],
    ids=["06", "08"],
)
def test_a_text_box_answers_whatever_one_types(lesson, placeholder, typed, desk):
    notebook = filled_in(lesson)
    desk.open(desk.lab.add(notebook, f"filled-{lesson.name}.ipynb"))
    assert desk.run_all() is True
    box = desk.page.get_by_placeholder(placeholder)
    maker = "sentence_box(look_up"
    shown = desk.cell(place_with(notebook, maker)).locator(
        ".jupyter-widgets.widget-output"
    )
    for number, (words, expected) in enumerate(typed.items()):
        box.focus()
        box.press("ControlOrMeta+a")
        box.press("Delete")
        box.press_sequentially(words)
        box.press("Enter")
        shown.get_by_text(expected).first.wait_for()
        assert "Traceback" not in shown.inner_text()
        desk.shot(f"box-{lesson.number:02}-{number}")
