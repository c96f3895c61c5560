"""The step that compares a reply with the output that its input wants. It awaits nothing."""

from power_loop.decisions.call import Call
from power_loop.decisions.calls import answer
from power_loop.decisions.outputs import ACCEPTED, OVERTAKEN, is_last_try, refused
from power_loop.decisions.steps import CheckOutput
from power_loop.engine.run import Run
from power_loop.facts import jsontext
from power_loop.facts.entries import OutputChecked
from power_loop.ports.structured import OutputForm, Verdict


async def check_output(step: CheckOutput, run: Run) -> None:
    """Stage what the check found, and the result of the call; the next commit writes it with what follows."""
    state = run.state
    call = None if step.call is None else state.calls[step.call]
    form = _form(run)
    if form is None or not state.output.due:
        if call is not None:
            run.stage(answer(call, state, "skipped", OVERTAKEN))
        return
    verdict = form.judge_text(state.reply_text) if call is None else _judged_call(form, call)
    final = bool(verdict.problem) and is_last_try(state.output, wrap_up=state.wrap_up)
    text = verdict.text or ("" if call is None else _given(call))
    checked = OutputChecked(not verdict.problem, text, verdict.problem, state.output.repairs, final, step.call)
    run.stage(checked)
    if call is not None:
        told = ACCEPTED if checked.ok else refused(checked.problem, call.recorded.name)
        run.stage(answer(call, state, "ok" if checked.ok else "failed", told))


def _form(run: Run) -> OutputForm | None:
    """Return the form of what is wanted; with the host's type where this process was told it."""
    wanted, own = run.state.output.wanted, run.services.output
    if wanted is None:
        return None
    spec = wanted.spec()
    return own if own is not None and own.spec.schema == spec.schema else OutputForm(spec)


def _judged_call(form: OutputForm, call: Call) -> Verdict:
    recorded = call.recorded
    return form.judge([recorded.arguments]) if recorded.raw is None else form.judge_text(recorded.raw)


def _given(call: Call) -> str:
    recorded = call.recorded
    return jsontext.encode(recorded.arguments) if recorded.raw is None else recorded.raw
