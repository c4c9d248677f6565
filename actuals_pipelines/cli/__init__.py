"""`actuals ...`: one file per noun, loaded only when it is asked for, so that `--help` answers at once."""

from __future__ import annotations

import difflib
import importlib
import json
import sys

import click

from actuals_pipelines.errors import ActualsError

# command -> (module, what it does). The module holds a click command of the same name, `-` written as `_`.
COMMANDS = {
    "read": ("read", "Print the transactions and control totals of a file; needs no home."),
    "match": ("match", "Reconcile plain files by a matching package; needs no home."),
    "init": ("init", "Make a home: key, database, certificates."),
    "tenant": ("tenant", "Apply a tenant's file; list and show tenants."),
    "secret": ("secret", "Set what a tenant's file may only name."),
    "api-key": ("api_key", "Make, list and revoke the inbox's API keys."),
    "run": ("run", "Take in and reconcile a tenant's days, and wait."),
    "report": ("report", "The figures of a tenant's packages, and their open items."),
    "explain": ("explain", "Why a transaction is matched, explained or open."),
    "decide": ("decide", "Match, detach, rekey, explain, write off; approve and withdraw."),
    "package": ("package", "Try changed packages over the last closes before they are adopted."),
    "find": ("find", "One transaction through all sources and packages."),
    "day": ("day", "What a source delivered for a day, and what became of it."),
    "source": ("source", "List sources, upload a file, release a held unit and approve it."),
    "audit": ("audit", "What people did to a tenant and its data."),
    "error": ("error", "What a library really said when it failed: list, show."),
    "up": ("up", "Run the home until Ctrl-C: doors, Dagster, its UI."),
    "alert": ("alert", "What is wrong now; test the channels that tell of it."),
    "status": ("status", "Which services run, where, and whether they do their work."),
    "demo": ("demo", "Run the main job with two tenants and known defects, in a home of its own."),
    "demo-data": ("demo_data", "Write a shop's order-to-cash with known defects."),
}


class _Lazy(click.Group):
    """A group that imports a command's module when the command is called, not when help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"actuals_pipelines.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            close = difflib.get_close_matches(args[0], COMMANDS)
            ctx.fail(f"No such command {args[0]!r}." + (f" Did you mean {close[0]!r}?" if close else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="actuals_pipelines")
def actuals() -> None:
    """Transaction reconciliation: SOLL (what should be) against IST (what is), explained to the cent."""


def main() -> None:
    """Run a command. Exit codes: 0 done, 1 done with findings, 2 refused or failed."""
    try:
        code = actuals(standalone_mode=False)  # click hands back what a command gave to `ctx.exit`
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except ActualsError as error:
        if "--json" in sys.argv:
            click.echo(json.dumps({"error": type(error).__name__, "message": str(error)}))
        click.echo(f"actuals: {error}", err=True)
        sys.exit(error.exit_code)
