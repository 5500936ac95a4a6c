"""The routes of /admin together."""

from litestar import Router

from gateway.http.admin.audit import audit
from gateway.http.admin.budgets import list_budgets, list_limits, put_budget, put_limit, remove_budget
from gateway.http.admin.decisions import decision, explain_written
from gateway.http.admin.evaluations import begin_evaluation, show_evaluation
from gateway.http.admin.feedback import list_feedback
from gateway.http.admin.keys import create_key, list_keys, revoke_key, rotate_key
from gateway.http.admin.knowledge import (
    knowledge_gaps,
    knowledge_impact,
    list_knowledge,
    search_knowledge,
    sync_knowledge,
)
from gateway.http.admin.line_changes import (
    add_version,
    create_line,
    promote_line,
    remove_line,
    rollback_line,
    set_canary,
    set_successor,
)
from gateway.http.admin.line_reports import line_trials, stale_lines
from gateway.http.admin.lines import line_events, line_gate, list_lines, list_tuning_jobs, show_line
from gateway.http.admin.members import add_member, list_members, remove_member
from gateway.http.admin.money import (
    adjust_usage,
    apply_prices,
    diff_prices,
    export_usage,
    list_adjustments,
    reconcile_usage,
    reprice,
    show_prices,
)
from gateway.http.admin.roles import create_role_key, list_role_keys, revoke_role_key
from gateway.http.admin.teams import create_team, list_teams, set_budget, set_team
from gateway.http.admin.upkeep import retain
from gateway.http.admin.usage import usage
from gateway.http.admin.webhooks import list_deliveries, retry_delivery, send_test

admin_router = Router(
    "/admin",
    route_handlers=[
        list_teams,
        create_team,
        set_team,
        set_budget,
        list_keys,
        create_key,
        rotate_key,
        revoke_key,
        usage,
        decision,
        explain_written,
        list_role_keys,
        create_role_key,
        revoke_role_key,
        list_members,
        add_member,
        remove_member,
        audit,
        list_budgets,
        put_budget,
        remove_budget,
        list_limits,
        put_limit,
        show_prices,
        diff_prices,
        apply_prices,
        reprice,
        adjust_usage,
        list_adjustments,
        export_usage,
        reconcile_usage,
        list_deliveries,
        retry_delivery,
        send_test,
        retain,
        knowledge_gaps,
        knowledge_impact,
        list_knowledge,
        sync_knowledge,
        search_knowledge,
        list_lines,
        stale_lines,
        line_trials,
        show_line,
        line_events,
        create_line,
        add_version,
        line_gate,
        promote_line,
        rollback_line,
        remove_line,
        set_canary,
        set_successor,
        list_tuning_jobs,
        list_feedback,
        begin_evaluation,
        show_evaluation,
    ],
    tags=["admin"],
)
