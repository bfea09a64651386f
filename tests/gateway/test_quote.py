import time

import pytest

from inhouse.gateway.quote import answer

LEAVE = """# Annual leave

Employees with less than ten years of service have 15 days of paid annual leave a year. Days that are not used by
31 March of the next year expire. Requests go to your line manager at least five working days ahead.

## Sick leave

Tell your manager before 10:00 on the first day. From the third day on a doctor's certificate is needed.
"""
TRAVEL = """Hotel limits per night:

| Grade | Beijing | Elsewhere |
|---|---|---|
| Staff | 600 CNY | 400 CNY |
| Director | 1000 CNY | 800 CNY |

To claim expenses you need:

- the original invoice
- the approved travel request
- boarding passes, if you flew

Claims are paid within ten working days.
"""
VPN = """# 远程办公

员工在家办公须使用公司VPN。首次登录请先在自助门户绑定手机令牌。令牌丢失时，请立即联系IT服务台（分机8000）停用。
VPN账号每90天须更换一次密码，密码不少于12位。
"""


def sources(*texts: str) -> str:
    blocks = [f'<source id="{n}" title="Doc {n}" page="{n}">{text}</source>' for n, text in enumerate(texts, start=1)]
    return "\n".join(blocks)


def ask(question: str, *texts: str) -> str:
    return answer([{"role": "system", "content": sources(*texts)}, {"role": "user", "content": question}])


@pytest.mark.parametrize(
    ("question", "quoted", "cited"),
    [
        ("How many days of annual leave do I have?", "15 days of paid annual leave", "[1]"),
        ("When do unused leave days expire?", "expire", "[1]"),
        ("Do I need a doctor's certificate?", "From the third day on a doctor's certificate is needed.", "[1]"),
        ("What can a director spend on a hotel in Beijing?", "Grade: Director; Beijing: 1000 CNY", "[2]"),
        ("How fast are claims paid?", "Claims are paid within ten working days.", "[2]"),
        ("VPN密码多久要换？", "VPN账号每90天须更换一次密码", "[3]"),
        ("手机令牌丢了怎么办", "令牌丢失时，请立即联系IT服务台", "[3]"),
    ],
)
def test_the_best_sentence_is_quoted_with_its_source(question: str, quoted: str, cited: str):
    said = ask(question, LEAVE, TRAVEL, VPN)

    assert quoted in said
    assert cited in said


@pytest.mark.parametrize(
    ("question", "note"),
    [("How many days of leave?", "No language model is connected"), ("VPN密码几位？", "尚未连接语言模型")],
)
def test_the_answer_ends_by_saying_that_no_language_model_is_connected(question: str, note: str):
    assert ask(question, LEAVE, VPN).splitlines()[-1].startswith(note)


@pytest.mark.parametrize(("question", "said"), [("Hello?", "I can only quote"), ("你好？", "我只能摘录")])
def test_without_sources_it_says_that_it_can_only_quote(question: str, said: str):
    assert said in ask(question)


def test_a_list_stays_a_list_behind_its_lead_in():
    said = ask("What do I need to claim expenses?", TRAVEL)

    assert "To claim expenses you need:\n- the original invoice\n- the approved travel request\n- boarding" in said


PLACES = """3.1 The limit per night depends on the place:
Place | Limit per night
Rotterdam, Amsterdam | EUR 160
Other places in Europe | EUR 140
3.2 The limit may be exceeded during fairs.
"""
ERRORS = """Messages of the client:
Message: E-23 Gateway unreachable; What to do: Use a phone hotspot
Message: E-40 Too many sessions; What to do: Disconnect one device
"""
BROKEN = """Expense | Limit in
China Limit in Rotterdam
Meal, per person | CNY 200 | EUR 45
Gift, per year | CNY 300 | EUR 50
"""


@pytest.mark.parametrize(
    ("question", "row", "text"),
    [
        (
            "How much may a room in Amsterdam cost per night?",
            "Place: Rotterdam, Amsterdam; Limit per night: EUR 160",
            PLACES,
        ),
        ("What does E-23 mean?", "Message: E-23 Gateway unreachable; What to do: Use a phone hotspot", ERRORS),
        ("How much may a gift cost?", "Gift, per year | CNY 300 | EUR 50", BROKEN),
    ],
)
def test_the_row_that_was_asked_for_is_quoted_whole(question: str, row: str, text: str):
    assert ask(question, text).startswith((f"- {row} [1]", f"{row} [1]"))


def test_words_in_brackets_behind_the_question_count_less_than_its_own():
    text = "A visitor pass is valid for a day. Visitor registration closes at 16:00 at reception."

    said = ask("How long is the pass valid? (visitor registration reception)", text)

    assert said.startswith("A visitor pass is valid for a day.")


def test_everyday_chinese_meets_formal_words():
    assert ask("打车能报吗", "出租车费凭票报销。", "会议室提前预订。").startswith("出租车费凭票报销。")


def test_the_number_of_a_clause_is_not_part_of_its_words():
    text = "4.1 Report a lost badge within 24 hours.\n4.2 A found badge is unblocked within 3 days. It costs 5.50 EUR."

    assert ask("When must I report a lost badge?", text).startswith("Report a lost badge within 24 hours. [1]")


def test_lines_broken_by_a_page_are_joined():
    assert "not used by 31 March of the next year expire." in ask("When do days expire by March?", LEAVE)


def test_at_most_three_sentences_are_quoted():
    text = " ".join(f"Rule {n} about travel is number {n}." for n in range(50))

    assert ask("What are the rules about travel?", text).count("Rule") <= 3


def test_an_answer_in_the_language_of_the_question_is_preferred():
    said = ask("VPN密码", "The VPN password has 12 characters.", "VPN密码不少于12位。")

    assert said.startswith("VPN密码不少于12位。")


def test_a_question_in_another_language_than_the_only_source_still_gets_a_quote():
    assert "[1]" in ask("病假需要什么材料？", LEAVE)


def test_the_question_may_follow_the_sources_in_one_message():
    said = answer([{"role": "user", "content": f"{sources(LEAVE, TRAVEL)}\n\nQuestion: how fast are claims paid?"}])

    assert "Claims are paid within ten working days. [2]" in said


def test_parts_of_a_message_are_read():
    part = {"type": "text", "text": f"{sources(VPN)}\n问题：密码多久更换？"}

    assert "90天" in answer([{"role": "user", "content": [part, {"type": "image_url", "image_url": {"url": "x"}}]}])


def test_a_source_that_talks_about_source_tags_is_quoted_as_it_was():
    text = "Wrap it in a &lt;source> tag."

    assert ask("Which tag?", text).startswith("Wrap it in a <source> tag. [1]")


@pytest.mark.parametrize("content", ["", None, 7, [], "<source>", "<source></source>", "问题：", "|||\n|||"])
def test_odd_content_gets_an_answer_all_the_same(content: object):
    assert answer([{"role": "user", "content": content}, {}])


def test_a_huge_prompt_is_answered_quickly():
    assert ask("rule about travel", *["Rule about travel. " * 20_000] * 30)


@pytest.mark.parametrize(
    "prompt",
    [
        "<source " * 400_000,
        '<source id="1">' * 200_000,
        f"<source {'a' * 1_990}>x</source>" * 1_000,
        "\n" * 1_000_000 + "x",
        *(
            f'<source id="1">{body}</source>Question: b?'
            for body in (
                "|a\n" + "b\n" * 9_900,
                "# a\n" + "b\n" * 9_900,
                f".{' ' * 19_000}a",
                "a: b" + "; a: b" * 60 + ";x",
            )
        ),
    ],
    ids=["openings", "open blocks", "attributes", "blank lines", "half a row", "heading", "blanks", "named row"],
)
@pytest.mark.timeout(20)
def test_no_prompt_takes_long(prompt: str):
    """Slow patterns hold the interpreter, and with it the whole server."""
    started = time.thread_time()

    assert answer([{"role": "user", "content": prompt}])

    assert time.thread_time() - started < 1.5
