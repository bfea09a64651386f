// Runs in node, with the official client for JavaScript.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI, { toFile } from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const client = new OpenAI({ maxRetries: 0 });
const model = "stand-in";
const messages = [{ role: "user", content: "Tell 'Ann' about 3 ships." }];
const Ships = z.object({ captain: z.string(), count: z.number().int() });

test("models are listed and found", async () => {
  const names = [];
  for await (const one of client.models.list()) names.push(one.id);

  assert.ok(names.includes(model));
  assert.equal((await client.models.retrieve(model)).id, model);
});

test("a question is answered", async () => {
  const { data, request_id } = await client.chat.completions
    .create({ model, messages, seed: 1, max_completion_tokens: 4 })
    .withResponse();

  assert.equal(data.choices[0].message.content, "You said: Tell 'Ann'");
  assert.equal(data.choices[0].finish_reason, "length");
  assert.equal(data.usage.completion_tokens, 4);
  assert.ok(request_id);
});

test("an answer is streamed", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);

  const said = chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? "")).join("");
  assert.match(said, /^You said: Tell 'Ann' about 3 ships\./);
  assert.ok(chunks.at(-1).usage.total_tokens > 0);
});

test("the stream helper puts the pieces together", async () => {
  const stream = client.chat.completions.stream({ model, messages, n: 2, logprobs: true, top_logprobs: 1 });
  let heard = 0;
  stream.on("content", () => (heard += 1));
  const { choices } = await stream.finalChatCompletion();

  assert.equal(choices.length, 2);
  assert.notEqual(choices[0].message.content, choices[1].message.content);
  assert.equal(choices[1].logprobs.content[0].top_logprobs[0].token, "You");
  assert.ok(heard > 3);
});

test("a stream can be left", async () => {
  const stream = await client.chat.completions.create({ model, messages, stream: true });
  for await (const _ of stream) break;

  assert.ok(stream.controller.signal.aborted);
});

test("an answer fits a schema", async () => {
  const answer = await client.chat.completions.parse({
    model,
    messages,
    response_format: zodResponseFormat(Ships, "ships"),
  });

  assert.deepEqual(answer.choices[0].message.parsed, { captain: "Ann", count: 3 });
});

for (const stream of [false, true]) {
  test(`tools are run and told of, ${stream ? "streamed" : "whole"}`, async () => {
    const told = [];
    const tool = zodFunction({
      name: "count_ships",
      parameters: Ships,
      function: (given) => {
        told.push(given);
        return "Ann has 3 ships.";
      },
    });
    const runner = client.chat.completions.runTools({ model, messages, tools: [tool], stream });
    const said = await runner.finalContent();

    assert.deepEqual(told, [{ captain: "Ann", count: 3 }]);
    assert.match(said, /You said: Ann has 3 ships\./);
  });
}

test("embeddings come as numbers, however they travel", async () => {
  const input = ["red apples", "the sea"];
  const packed = await client.embeddings.create({ model: "stand-in-embedding", input });
  const plain = await client.embeddings.create({ model: "stand-in-embedding", input, encoding_format: "float" });

  assert.equal(packed.data.length, 2);
  packed.data[1].embedding.forEach((x, at) => assert.ok(Math.abs(x - plain.data[1].embedding[at]) < 1e-6));
});

test("a text is continued", async () => {
  const answer = await client.completions.create({ model, prompt: ["one", "two"], max_tokens: 3, echo: true });

  assert.deepEqual(
    answer.choices.map((choice) => choice.text.slice(0, 3)),
    ["one", "two"],
  );
});

test("texts are judged", async () => {
  const { results } = await client.moderations.create({ input: ["hello", "world"] });

  assert.equal(results.length, 2);
  assert.equal(typeof results[0].flagged, "boolean");
});

test("sound goes both ways", async () => {
  const spoken = await client.audio.speech.create({ model: "stand-in-audio", input: "Ahoy!", voice: "alloy" });
  const sound = Buffer.from(await spoken.arrayBuffer());
  const file = await toFile(sound, "ahoy.mp3");
  const heard = await client.audio.transcriptions.create({ model: "stand-in-audio", file });

  assert.equal(heard.text, "I heard ahoy.mp3, which has 5 bytes.");
});

test("a picture is drawn", async () => {
  const { data } = await client.images.generate({ model: "stand-in-image", prompt: "a ship" });

  assert.ok(Buffer.from(data[0].b64_json, "base64").subarray(1, 4).equals(Buffer.from("PNG")));
});

test("errors have their classes", async () => {
  const ask = (options, model) => new OpenAI({ maxRetries: 0, ...options }).chat.completions.create({ model, messages });

  await assert.rejects(ask({ apiKey: "ih_wrong" }, model), OpenAI.AuthenticationError);
  await assert.rejects(ask({}, "no-such-model"), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
  await assert.rejects(client.chat.completions.create({ model, messages: [] }), OpenAI.BadRequestError);
});
