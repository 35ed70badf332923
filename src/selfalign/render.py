"""Rows → the exact token ids, loss mask and attention mask a model sees.

The only such place: engines and trainers both call it, so a model is trained, scored and sampled on the same tokens.
It does not know which engine, trainer or method asks.
"""

from __future__ import annotations

import re
from functools import lru_cache

from selfalign.errors import EngineError
from selfalign.ports import Rendered, Tokenizer
from selfalign.types import Chat, Message, Rendering

ALPACA_HEADER = "### Response:"
ALPACA_TASK = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n{instruction}\n\n"
)
WRAPPER_HEADER = "### Response: "
# What base models are shown: the text, with this after it, and no header under which answers begin.
AS_IT_IS = {"plain": "\n", "continued": ""}
# Turns of a dialogue in text: a heading, what is said, a blank line. What is said cannot pass for a heading.
HEADINGS = {"system": "", "user": "### User\n", "assistant": "### Assistant\n"}
HEADING_LIKE = re.compile(r"^###(?=[ \t]*(?:User|Assistant)\b)", re.MULTILINE | re.IGNORECASE)
# A base model goes on with one of these where its answer ends. No other heading does, or lists and code would be cut.
NEXT_TURNS = tuple(f"\n{HEADINGS[role]}" for role in ("user", "assistant"))


def prompt_text(tokenizer: Tokenizer, prompt: tuple[Message, ...], rendering: Rendering) -> str:
    """The text before the answer, ending where the assistant begins to write.

    With `context` `header` it is that ending alone: the header under which answers begin.

    Raises:
        EngineError: the tokenizer has no chat template and the rendering asks for one, or another form (single-turn
            by definition, SPIN App. B.1) is given several user turns.
    """
    if rendering.prompt == "chat":
        return chat_text(tokenizer, prompt, rendering)
    if rendering.prompt == "dialogue":
        return dialogue_text(tokenizer, prompt, rendering)
    turns = [
        disarmed(tokenizer, message.content) for message in with_suffix(prompt, rendering) if message.role == "user"
    ]
    if len(turns) != 1:
        raise EngineError(
            f"rendering.prompt {rendering.prompt!r} takes prompts with one user turn, this one has {len(turns)}; "
            "set it to 'chat' for conversations (SPIN: method.generation_rendering.prompt)"
        )
    if rendering.prompt in AS_IT_IS:
        return turns[0] + AS_IT_IS[rendering.prompt] if rendering.context == "prompt" else ""
    header = WRAPPER_HEADER if rendering.prompt == "instruction-response" else ALPACA_HEADER
    if rendering.context == "header":
        return header
    if rendering.prompt == "instruction-response":
        return f"### Instruction: {turns[0]}\n\n{header}"
    return ALPACA_TASK.format(instruction=turns[0]) + header


def chat_text(tokenizer: Tokenizer, prompt: tuple[Message, ...], rendering: Rendering) -> str:
    """The prompt in the tokenizer's own chat template, or only what the template puts before an answer."""
    if not tokenizer.chat_template:
        raise EngineError(
            "the model's tokenizer has no chat template; add a chat_template.jinja to the model folder "
            "or set rendering.prompt to 'instruction-response' or 'alpaca'"
        )
    messages = [
        {"role": message.role, "content": disarmed(tokenizer, message.content)}
        for message in led_and_tagged(prompt, rendering)
    ]
    text: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    if rendering.context == "prompt":
        return text
    before: str = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    if not text.startswith(before):
        raise EngineError("the chat template has no header of its own for answers; set rendering.prompt to 'alpaca'")
    return text.removeprefix(before)


def dialogue_text(tokenizer: Tokenizer, prompt: tuple[Message, ...], rendering: Rendering) -> str:
    """The prompt as a written dialogue, up to the heading under which the assistant goes on."""
    turns = (
        f"{HEADINGS[message.role]}{HEADING_LIKE.sub('# ##', disarmed(tokenizer, message.content).strip())}\n\n"
        for message in led_and_tagged(prompt, rendering)
    )
    return ("".join(turns) if rendering.context == "prompt" else "") + HEADINGS["assistant"]


def written_ends(rendering: Rendering) -> tuple[str, ...]:
    """The texts that end an answer, where a base model goes on with the next turn; none where only a token does.

    Each begins with a line break, which an answer that begins with such a text has before it in its prompt.
    """
    return NEXT_TURNS if rendering.prompt == "dialogue" else ()


def led_and_tagged(prompt: tuple[Message, ...], rendering: Rendering) -> tuple[Message, ...]:
    """The prompt as the rendering wants it led and tagged."""
    return with_suffix(with_system(prompt, rendering), rendering)


def with_suffix(prompt: tuple[Message, ...], rendering: Rendering) -> tuple[Message, ...]:
    """The prompt, the rendering's suffix at the end of its last user message."""
    last = max((place for place, message in enumerate(prompt) if message.role == "user"), default=None)
    if not rendering.suffix or last is None:
        return prompt
    tagged = Message(role="user", content=f"{prompt[last].content}\n\n{rendering.suffix}")
    return (*prompt[:last], tagged, *prompt[last + 1 :])


def with_system(prompt: tuple[Message, ...], rendering: Rendering) -> tuple[Message, ...]:
    """The prompt, led by the rendering's system message if it has none of its own."""
    if rendering.system is None or any(message.role == "system" for message in prompt):
        return prompt
    return (Message(role="system", content=rendering.system), *prompt)


def disarmed(tokenizer: Tokenizer, text: str) -> str:
    """A text in which nothing is read as a control token: a blank follows the first character of what could be.

    Texts come from the web and from models; one that ends its own turn could write the next one too.
    """
    tokens = control_tokens(tokenizer)
    return tokens.sub(lambda found: f"{found[0][0]} {found[0][1:]}", text) if tokens else text


@lru_cache(maxsize=4)
def control_tokens(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """What finds a tokenizer's control tokens in a text; None when it has none."""
    tokens = sorted({token for token in tokenizer.all_special_tokens if len(token) > 1}, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, tokens))) if tokens else None


def prompt_ids(tokenizer: Tokenizer, chat: Chat, rendering: Rendering) -> list[int]:
    """Token ids of the prompt as a generator sees it: at most `max_length` - 1, the oldest tokens cut first."""
    return whole_prompt_ids(tokenizer, chat, rendering)[-most_prompt_tokens(rendering) :]


def most_prompt_tokens(rendering: Rendering) -> int:
    """How many tokens a prompt may have: an answer needs room for one."""
    return max(1, rendering.max_length - 1)


def whole_prompt_ids(tokenizer: Tokenizer, chat: Chat, rendering: Rendering) -> list[int]:
    """Token ids of the prompt, however long.

    Templates write their own special tokens, so none are added; `alpaca` is led by the begin token if there is one,
    and text as it is by whatever the tokenizer puts before any text. What has no header (a template, text as it is)
    gives the end token in its place: an answer's first token needs one before it.
    """
    text = prompt_text(tokenizer, chat.prompt, rendering)
    if rendering.prompt in (*AS_IT_IS, "dialogue"):
        return led(tokenizer, text) or [end_token_id(tokenizer)]
    ids = tokenizer.encode(text, add_special_tokens=False)
    if rendering.prompt == "alpaca" and tokenizer.bos_token_id is not None:
        ids = [tokenizer.bos_token_id, *ids]
    if not ids and rendering.context == "header":
        ids = [end_token_id(tokenizer)]
    return ids


def led(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of a text with what the tokenizer puts before any text, and without what it would put after one."""
    dressed = tokenizer.encode(text, add_special_tokens=True)
    if not text:
        return dressed[:1] if dressed[:1] == [tokenizer.bos_token_id] else []
    bare = tokenizer.encode(text, add_special_tokens=False)
    extra = len(dressed) - len(bare)
    before = next((count for count in range(extra, -1, -1) if dressed[count : count + len(bare)] == bare), 0)
    return [*dressed[:before], *bare]


def answer_ids(tokenizer: Tokenizer, chat: Chat, rendering: Rendering) -> list[int]:
    """Token ids of the answer with its ending.

    `natural`: a finished answer ends in one end token, a cut one in none, so that cutting is never taught.
    `official-double`: end token, newline, end token, for cut answers too (the released code's behaviour).
    """
    if chat.answer is None:
        raise EngineError(f"row {chat.id!r} has no answer to render; generate one or leave the row out")
    end = end_token_id(tokenizer)
    ids = tokenizer.encode(disarmed(tokenizer, chat.answer), add_special_tokens=False)
    if rendering.answer_end == "official-double":
        return [*ids, end, *tokenizer.encode("\n", add_special_tokens=False), end]
    return [*ids, end] if chat.finished else ids


def end_token_id(tokenizer: Tokenizer) -> int:
    """The id of the token that ends an answer."""
    if tokenizer.eos_token_id is None:
        raise EngineError("the model's tokenizer has no eos_token; set one in tokenizer_config.json")
    return tokenizer.eos_token_id


def rendered(tokenizer: Tokenizer, chat: Chat, rendering: Rendering) -> Rendered:
    """A chat as one sequence of T tokens: prompt (not a target), answer (target)."""
    return rendered_together(tokenizer, (chat,), rendering)[0]


def rendered_together(tokenizer: Tokenizer, chats: tuple[Chat, ...], rendering: Rendering) -> tuple[Rendered, ...]:
    """Several answers to one prompt, each as a sequence, all with the same prompt tokens.

    When the prompt and the longest answer exceed `max_length`, the prompt keeps its last `max_prompt_length` tokens
    (without that setting: as many as fit beside the longest answer, at least one); answers that are still too long
    lose their last tokens, the end token among them. This is the released code's order of cutting.
    """
    prompt = prompt_ids(tokenizer, chats[0], rendering)
    answers = [answer_ids(tokenizer, chat, rendering) for chat in chats]
    longest = max(len(answer) for answer in answers)
    room = rendering.max_length - len(prompt)
    if longest > room:
        kept = rendering.max_prompt_length or max(1, rendering.max_length - longest)
        kept = min(kept, rendering.max_length - 1)  # some of the answer must stay, whatever the settings say
        prompt = prompt[-kept:]
        room = rendering.max_length - (kept if rendering.max_prompt_length else len(prompt))
    return tuple(
        sequence(
            tokenizer, prompt, answer[:room] if len(prompt) + longest > rendering.max_length else answer, rendering
        )
        for answer in answers
    )


def is_full(sequence: Rendered, rendering: Rendering) -> bool:
    """Whether a sequence is as long as the rendering allows, so that something of it may have been cut."""
    return len(sequence.ids) >= rendering.max_length or sequence.prompt_length == rendering.max_prompt_length


def sequence(tokenizer: Tokenizer, prompt: list[int], answer: list[int], rendering: Rendering) -> Rendered:
    """Prompt and answer ids joined, with their masks."""
    ids = (*prompt, *answer)
    loss = (*(False for _ in prompt), *(True for _ in answer))
    return Rendered(ids=ids, loss=loss, attention=attention(tokenizer, ids, rendering))


def attention(tokenizer: Tokenizer, ids: tuple[int, ...], rendering: Rendering) -> tuple[bool, ...]:
    """Which tokens later ones may see: all, or (official code) all but the end tokens before the last token."""
    if rendering.answer_end == "natural":
        return (True,) * len(ids)
    end = end_token_id(tokenizer)
    return (*(token != end for token in ids[:-1]), True)
