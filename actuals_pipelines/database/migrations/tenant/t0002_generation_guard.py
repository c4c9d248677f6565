"""Generations change state only as designed, and only what passed is published: whoever writes, whatever the program.

candidate -> passed | held      by the verdict
held -> passed                  only released, which one person asked for and another approved (`policy` may waive it)
passed -> published             after it, its unit, fingerprint and verdict stay
any -> superseded
superseded -> candidate         an older mapping that is in force again: it is judged anew
"""

from __future__ import annotations

from alembic import op

revision = "t0002"
down_revision = "t0001"

_GENERATION = """
create function generation_guard() returns trigger language plpgsql set search_path = pg_catalog, public as $$
declare
    was text := case when tg_op = 'INSERT' then 'candidate' else old.state end;
    allowed boolean;
begin
    if tg_op = 'UPDATE'
        and (new.id, new.unit_id, new.fingerprint) is distinct from (old.id, old.unit_id, old.fingerprint)
    then
        raise exception 'a generation keeps its id, unit and fingerprint' using errcode = 'check_violation';
    end if;
    if was in ('published', 'superseded') and new.state = was and new.verdict is distinct from old.verdict then
        raise exception 'the verdict of a % generation stays', was using errcode = 'check_violation';
    end if;
    allowed := case
        when new.state = 'candidate' then
            was in ('candidate', 'superseded') and coalesce(new.verdict, 'could_not_run') = 'could_not_run'
        when new.state = 'passed' then
            (was = 'candidate' and coalesce(new.verdict = 'passed', false))
            or (was = 'held' and coalesce(new.verdict = 'released', false))
            or (was = 'passed' and new.verdict is not distinct from old.verdict)
        when new.state = 'held' then
            was in ('candidate', 'held') and coalesce(new.verdict in ('held', 'could_not_run'), false)
        when new.state = 'published' then
            was = 'published' or (was = 'passed' and new.verdict is not distinct from old.verdict)
        when new.state = 'superseded' then tg_op = 'UPDATE'
        else false
    end;
    if not allowed then
        raise exception 'a generation does not go from % to % with verdict %',
            was, new.state, coalesce(new.verdict, 'none')
            using errcode = 'check_violation';
    end if;
    if was = 'held' and new.state = 'passed' and not exists (
        select from public.release where generation_id = new.id and approved_by is not null
    ) then
        raise exception 'a held generation passes only when its release was approved' using errcode = 'check_violation';
    end if;
    return new;
end $$
"""

# The check constraint compares the two persons; this sees that the rule and the first of them are not chosen freely.
_RELEASE = """
create function release_guard() returns trigger language plpgsql set search_path = pg_catalog, public as $$
begin
    if tg_op = 'INSERT' and new.approved_by is not null then
        raise exception 'a release is asked for first and approved later' using errcode = 'check_violation';
    end if;
    if tg_op = 'UPDATE' and (old.approved_by is not null
        or (new.id, new.generation_id, new.asked_by, new.asked_at, new.reason_sealed)
            is distinct from (old.id, old.generation_id, old.asked_by, old.asked_at, old.reason_sealed))
    then
        raise exception 'a release is approved once, as it was asked for' using errcode = 'check_violation';
    end if;
    new.needs_another := coalesce((select is_on from public.policy where name = 'four_eyes'), true);
    return new;
end $$
"""

# FOR SHARE: the generation cannot be superseded between this look and the publication's commit.
_PUBLICATION = """
create function publication_guard() returns trigger language plpgsql set search_path = pg_catalog, public as $$
declare
    found_state text;
begin
    select state into found_state from public.generation where id = new.generation_id for share;
    if found_state is null or found_state not in ('passed', 'published') then
        raise exception 'a generation that is % is not published', coalesce(found_state, 'unknown')
            using errcode = 'check_violation';
    end if;
    return new;
end $$
"""


def upgrade() -> None:
    op.execute(_GENERATION)
    op.execute(_RELEASE)
    op.execute(_PUBLICATION)
    op.execute("revoke all on function generation_guard(), release_guard(), publication_guard() from public")
    op.execute(
        "create trigger release_guard before insert or update on release for each row execute function release_guard()"
    )
    op.execute(
        "create trigger generation_guard before insert or update on generation "
        "for each row execute function generation_guard()"
    )
    op.execute(
        "create trigger publication_guard before insert or update of generation_id on publication "
        "for each row execute function publication_guard()"
    )
