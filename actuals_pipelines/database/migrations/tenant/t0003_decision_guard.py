"""The log of decisions is held to its rules by the database: whoever writes, whatever the program.

A decision's rows are written with it. Nobody approves what they decided themselves (`policy` may waive it). A decision
that was approved is withdrawn only when its withdrawal was approved too. Then its rows are free for another.
"""

from __future__ import annotations

from alembic import op

revision = "t0003"
down_revision = "t0002"

# As its owner: it locks the entry that is answered, so that two answers wait for each other; role `app` cannot update.
_DECISION = """
create function decision_guard() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
declare
    target public.decision%rowtype;
begin
    new.needs_another := coalesce((select is_on from public.policy where name = 'four_eyes'), true);
    if new.kind not in ('approve', 'withdraw') then
        return new;
    end if;
    select * into target from public.decision where id = new.target_id for update;
    if target.id is null or target.package_id <> new.package_id
        or (new.kind = 'approve' and target.kind not in ('match', 'adjust', 'withdraw'))
        or (new.kind = 'withdraw' and target.kind in ('approve', 'withdraw'))
        or not exists (
            select from public.decision_row where is_active
            and decision_id = case when target.kind = 'withdraw' then target.target_id else target.id end)
    then
        raise exception 'there is nothing to %', new.kind
            using errcode = 'check_violation', constraint = 'decision_answer_fits';
    end if;
    if new.kind = 'approve' and new.needs_another and new.author = target.author then
        raise exception 'a decision is approved by another person'
            using errcode = 'check_violation', constraint = 'decision_has_four_eyes';
    end if;
    return new;
end $$
"""

_EFFECT = """
create function decision_effect() returns trigger language plpgsql security definer
set search_path = pg_catalog, public as $$
declare
    freed uuid;
begin
    if new.kind = 'withdraw' and not exists (
        select from public.decision where kind = 'approve' and target_id = new.target_id)
    then
        freed := new.target_id;
    elsif new.kind = 'approve' then
        select target_id into freed from public.decision where id = new.target_id and kind = 'withdraw';
    end if;
    update public.decision_row set is_active = false where decision_id = freed;
    return null;
end $$
"""

_ROW = """
create function decision_row_guard() returns trigger language plpgsql set search_path = pg_catalog, public as $$
declare
    of_decision record;
begin
    select kind, package_id, decided_at into of_decision from public.decision where id = new.decision_id;
    if of_decision.kind is null or of_decision.kind in ('approve', 'withdraw') or of_decision.decided_at <> now() then
        raise exception 'the rows of a decision are written with it' using errcode = 'check_violation';
    end if;
    new.package_id := of_decision.package_id;
    new.is_active := true;
    new.family := case
        when of_decision.kind in ('match', 'adjust') then 'claim'
        when of_decision.kind in ('detach', 'rekey') then 'key'
        else 'label'
    end;
    return new;
end $$
"""


def upgrade() -> None:
    for function in (_DECISION, _EFFECT, _ROW):
        op.execute(function)
    op.execute("revoke all on function decision_guard(), decision_effect(), decision_row_guard() from public")
    op.execute("create trigger decision_guard before insert on decision for each row execute function decision_guard()")
    op.execute(
        "create trigger decision_effect after insert on decision for each row execute function decision_effect()"
    )
    op.execute(
        "create trigger decision_row_guard before insert on decision_row "
        "for each row execute function decision_row_guard()"
    )
