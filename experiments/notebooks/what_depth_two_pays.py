"""What must depth 2 pay? Choose a radial function, slide d and ε, see what no network can pass.

depthwright explore
python experiments/notebooks/what_depth_two_pays.py
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="full", app_title="What must depth 2 pay?", html_head_file="head.html")

with app.setup:
    import time

    import marimo as mo
    import numpy as np

    from depthwright import Refusal
    from depthwright.approximation.mass import minimum
    from depthwright.comparison.glance import glance
    from depthwright.constructions import RadialDepthThree, Ridge, SparseRidge
    from depthwright.figures import depth_two
    from depthwright.figures.interactive import widget
    from depthwright.machine.beside import Beside
    from depthwright.networks.upper import at_least, at_most
    from depthwright.targets import Cone, Hat, Monomial, RandomProfile, Sine, ZigZag

    COARSE = 1e-2
    """Relative gap at which the first program stops; its floor is proved all the same."""
    PAUSE = 0.4
    """Seconds for which a slider rests before networks are counted."""
    DIMENSIONS = [2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100, 200]
    ACCURACIES = [0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005]
    SHAPES = {
        "zigzag": ("teeth", lambda d, k: ZigZag(d, teeth=k)),
        "cone ‖x‖": ("", lambda d, k: Cone(d)),
        "hat": ("steepness", lambda d, k: Hat(d, slope=k + 1.0)),
        "sine of ‖x‖²": ("frequency", lambda d, k: Sine(d, frequency=k)),
        "‖x‖ to the 2k": ("k", lambda d, k: Monomial(d, power=k)),
        "random": ("seed", lambda d, k: RandomProfile(d, seed=k)),
    }
    """What the third slider is for the profile ("": nothing), and the target."""
    DRAWN = "drawn by you"
    HANDLES = 9


@app.cell(hide_code=True)
def _():
    mo.md("""
    # What must depth 2 pay?

    Take a function f(x) = ϕ(‖x‖) on the unit ball of R<sup>d</sup>. A network of **depth 2** is a
    sum Σ a<sub>i</sub> σ(w<sub>i</sub>·x + b<sub>i</sub>); its *path norm* is
    Σ |a<sub>i</sub>|·‖w<sub>i</sub>‖. However many neurons it has: to be
    within ε of f for every x, its path norm cannot be below a **floor**. The floor is proved, and
    the pictures show why. Depth 3 pays next to nothing.
    """)
    return


@app.cell(hide_code=True)
def _():
    shape = mo.ui.dropdown([*SHAPES, DRAWN], value="zigzag", label="profile ϕ")
    d = mo.ui.slider(steps=DIMENSIONS, value=5, label="dimension d", show_value=True)
    eps = mo.ui.slider(steps=ACCURACIES, value=0.07, label="accuracy ε", show_value=True)
    return d, eps, shape


@app.cell(hide_code=True)
def _(shape):
    word, _target = SHAPES.get(shape.value, ("", None))
    k = mo.ui.slider(1, 8, value=2, label=word, show_value=True)
    return k, word


@app.cell(hide_code=True)
def _():
    at_start = np.abs(np.linspace(0, 4, HANDLES) % 2 - 1)
    handles = mo.ui.array(
        [
            mo.ui.slider(0, 1, 0.05, value=float(height), orientation="vertical")
            for height in at_start
        ]
    )
    return (handles,)


@app.cell(hide_code=True)
def _(d, eps, handles, k, shape, word):
    drawing = mo.hstack(list(handles), justify="start", wrap=True, gap=0.5)
    mo.vstack(
        [
            mo.hstack([shape, d, eps], justify="start", gap=2, wrap=True),
            mo.vstack([mo.md("Values of ϕ at r = 0, 1/8, …, 1:"), drawing])
            if shape.value == DRAWN
            else (k if word else mo.md("")),
        ]
    )
    return


@app.function
def chosen(shape, d, k, heights):
    """The target that the controls describe."""
    if shape != DRAWN:
        return SHAPES[shape][1](d, k)
    from depthwright.targets import Profile

    return Profile(list(heights), input_dim=d)


@app.function
def least_of(target, accuracy, gap):
    """The program of least mass, the seconds it took, and why there is none."""
    start = time.perf_counter()
    try:
        least, refusal = minimum(target, accuracy, gap=gap), ""
    except Refusal as error:
        least, refusal = None, str(error)
    return least, time.perf_counter() - start, refusal


@app.function
def told(least, target, accuracy, refusal):
    """The finding, in words."""
    if least is None:
        return f"**No answer in float64:** {refusal}."
    d = target.input_dim
    if not len(least.primal.knots):
        return (
            f"**Nothing.** A constant is within ε = {accuracy:g} of this function; "
            "make ε smaller or the profile higher."
        )
    return (
        f"**Every** depth-2 network within ε = {accuracy:g} of this function in d = {d} has a "
        f"path norm of at least **{at_least(2 * least.floor)}**: with no weight vector above "
        f"norm 1 and no |a<sub>i</sub>| above 1, that is at least "
        f"**{int(np.ceil(2 * least.floor)):,} neurons**."
    )


@app.cell(hide_code=True)
def _(d, eps, handles, k, shape):
    target = chosen(shape.value, d.value, k.value, handles.value)
    least, seconds, refusal = least_of(target, eps.value, COARSE)
    mo.md(told(least, target, eps.value, refusal)).callout("info" if least else "warn")
    return least, seconds, target


@app.cell(hide_code=True)
def _(eps, least, target):
    panels = [depth_two.slices(target, eps.value, least)]
    if least is not None and len(least.primal.knots):
        panels += [depth_two.knots(least), depth_two.measure(least), depth_two.constraint(least)]
    titles = [
        "The function, and the mean of the cheapest networks",
        "What the cheapest mean is made of",
        "Why nothing is cheaper: a measure that weighs ϕ …",
        "… and gives no hinge more than 1",
    ]
    mo.Html(
        '<div style="display:grid;gap:1rem;grid-template-columns:'
        'repeat(auto-fit,minmax(min(100%,30rem),1fr))">'
        + "".join(
            f'<div style="min-width:0"><b>{title}</b>'
            f"{mo.as_html(mo.ui.plotly(widget(panel))).text}</div>"
            for title, panel in zip(titles, panels, strict=False)
        )
        + "</div>"
    )
    return (panels,)


@app.function
def rows_of(glances):
    """A table of sizes, as Markdown."""
    lines = ["| network | depth | neurons | parameters | proved error |", "|---|--:|--:|--:|--:|"]
    for name, one in glances.items():
        if one is None:
            lines.append(f"| {name} | | *computing …* | | |")
        elif one.refusal:
            lines.append(f"| {name} | | none: {one.refusal} | | |")
        else:
            size = one.architecture
            neurons = sum(size.widths[1:-1])
            bound = at_most(one.claim.bound, 3) if one.claim else "not built here"
            lines.append(f"| {name} | {size.depth} | {neurons:,} | {size.parameters:,} | {bound} |")
    return "\n".join(lines)


@app.function
def recipes(target, accuracy):
    """The three constructions that are counted."""
    return {
        "depth 3 (`RadialDepthThree`)": (RadialDepthThree, target, accuracy),
        "depth 2 by polynomials (`Ridge`)": (Ridge, target, accuracy),
        "depth 2, few knots (`SparseRidge`)": (SparseRidge, target, accuracy),
    }


@app.function
def beside(recipe, at):
    """A construction's glance, in a process of its own; a refusal is an answer as well."""
    construction, target, accuracy = recipe
    return Beside(glance, construction(target, accuracy=accuracy), at)


@app.cell(hide_code=True)
def _(eps, least, target):
    at = depth_two.places(target).tolist()
    glances = dict.fromkeys(recipes(target, eps.value))

    def shown():
        panel = depth_two.slices(target, eps.value, least, [g for g in glances.values() if g])
        return mo.vstack(
            [
                mo.md("## What networks that exist cost"),
                mo.Html(f'<div style="overflow-x:auto">{mo.md(rows_of(glances)).text}</div>'),
                mo.ui.plotly(widget(panel)),
            ]
        )

    def refine(should_exit):
        """Each size in a process of its own, shown as it comes; stopped with this cell."""
        time.sleep(PAUSE)
        if should_exit():
            return
        running = {name: beside(r, at) for name, r in recipes(target, eps.value).items()}
        while running and not should_exit():
            for name, process in list(running.items()):
                if process.ended(0.05):
                    glances[name] = process.result()
                    del running[name]
                    mo.output.replace(shown())
        for process in running.values():
            process.stop()

    mo.output.replace(shown())
    if mo.app_meta().mode == "script":
        refine(lambda: False)
    else:
        thread = mo.Thread(target=lambda: refine(lambda: thread.should_exit))
        thread.start()
    return (glances,)


@app.cell(hide_code=True)
def _(glances, least, panels, seconds, target):
    if mo.app_meta().mode == "script":
        print(f"d = {target.input_dim}: floor {2 * least.floor:.5g} in {seconds:.2f} s")
        for _name, _one in glances.items():
            print(f"{_name}: {_one.refusal or _one.architecture}")
        print(f"{len(panels)} panels")
    return


@app.cell(hide_code=True)
def _():
    mo.md("""
    **How to read it.** The mean of a network over all rotations depends on r = ‖x‖ alone and is
    no farther from ϕ than the network. It is a sum of *averaged hinges* T h<sub>b</sub>, one per
    neuron, and a neuron adds |a<sub>i</sub>|·‖w<sub>i</sub>‖/2 to their total weight. The least
    total weight is a linear program; the answer here comes from a coarse solution of it, whose
    floor is proved with any gap. Its dual is a measure μ on radii: the floor is 2·(∫ϕ dμ − ε‖μ‖),
    and holds because no hinge gets more than 1 from μ. Proof:
    `src/depthwright/bounds/norm_floor.py`.
    """)
    return


if __name__ == "__main__":
    app.run()
