// An app on OpenAI's SDK for Node.js, before one target.
import assert from 'node:assert/strict';
import OpenAI, { APIError, APIUserAbortError, BadRequestError, NotFoundError, RateLimitError } from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { counting, endsAtTheTarget, tell, where } from './stories.mjs';

const model = where.target;
const fetch = counting();
const app = new OpenAI({ baseURL: `${where.sidecar}/v1`, apiKey: 'key-of-the-app', fetch });
const messages = [{ role: 'user', content: 'Hello' }];
const place = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};
const both = [{ role: 'user', content: 'weather and traffic, in parallel' }];
const tools = ['get_weather', 'get_traffic'].map((name) => ({ type: 'function', function: { name, parameters: place } }));

await tell({
  async whole() {
    const { data, response, request_id } = await app.chat.completions.create({ model, messages }).withResponse();
    assert.equal(data.choices[0].message.content.split(' ').length, 12);
    assert.equal(data.usage.completion_tokens, 12);
    assert.equal(response.headers.get('x-llmroute-target'), model);
    assert.equal(request_id, response.headers.get('x-request-id'));
  },

  async streamed() {
    let words = '';
    let usage;
    const options = { include_usage: true };
    for await (const chunk of await app.chat.completions.create({ model, messages, stream: true, stream_options: options })) {
      words += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.equal(words.split(' ').length, 12);
    assert.equal(usage.completion_tokens, 12);
    const answer = await app.chat.completions.stream({ model, messages }).finalChatCompletion();
    assert.equal(answer.choices[0].finish_reason, 'stop');
  },

  async tools() {
    const answer = await app.chat.completions.stream({ model, messages: both, tools }).finalChatCompletion();
    const calls = answer.choices[0].message.tool_calls;
    assert.deepEqual(calls.map((call) => call.function.name), ['get_weather', 'get_traffic']);
    assert.deepEqual(JSON.parse(calls[1].function.arguments), { city: 'simulated' });
    assert.notEqual(calls[0].id, calls[1].id);
  },

  async toolsAndTheirResults() {
    const heard = [];
    const runnable = ['get_weather', 'get_traffic'].map((name) => ({
      type: 'function',
      function: { name, parameters: place, parse: JSON.parse, function: ({ city }) => heard.push(`${name} ${city}`) },
    }));
    for (const stream of [false, true]) {
      const run = app.chat.completions.runTools({ model, messages: both, tools: runnable, stream });
      assert.ok(await run.finalContent());
    }
    assert.deepEqual(heard.slice(0, 2), ['get_weather simulated', 'get_traffic simulated']);
    assert.equal(heard.length, 4);
  },

  async parsed() {
    const journey = z.object({ title: z.string(), stops: z.array(z.object({ city: z.string(), nights: z.number() })) });
    const response_format = zodResponseFormat(journey, 'journey');
    const answer = await app.chat.completions.parse({ model, messages, response_format });
    assert.equal(answer.choices[0].message.parsed.stops[0].city, 'simulated');
    const streamed = await app.chat.completions.stream({ model, messages, response_format }).finalChatCompletion();
    assert.equal(streamed.choices[0].message.parsed.title, 'simulated');
  },

  async errors() {
    const refused = async (kind, wanted) => {
      const before = fetch.calls;
      await assert.rejects(app.chat.completions.create({ messages, ...wanted }), kind);
      assert.equal(fetch.calls, before + 1, 'the SDK asked more than once');
    };
    await refused(NotFoundError, { model: 'no-such-model' });
    await refused(BadRequestError, { model, max_tokens: 0 });
    await refused(RateLimitError, { model: `limited-${model}` });
    await refused(APIError, { model: `failing-${model}`, stream: true });
  },

  async rescued() {
    const before = fetch.calls;
    assert.ok((await app.chat.completions.create({ model: `rescued-${model}`, messages })).choices[0].message.content);
    assert.ok(await app.chat.completions.stream({ model: `rescued-${model}`, messages }).finalContent());
    assert.equal(fetch.calls, before + 2);
  },

  async broken() {
    let words = '';
    await assert.rejects(async () => {
      for await (const chunk of await app.chat.completions.create({ model: `breaking-${model}`, messages, stream: true })) {
        words += chunk.choices[0].delta.content ?? '';
      }
    }, APIError);
    assert.equal(words.trim().split(' ').length, 5);
  },

  async aborted() {
    await endsAtTheTarget(async () => {
      const wanted = { model: `slow-${model}`, messages, stream: true };
      for await (const chunk of await app.chat.completions.create(wanted)) if (chunk.choices[0].delta.content) break;
    });
    await endsAtTheTarget(async () => {
      const impatient = new AbortController();
      setTimeout(() => impatient.abort(), 100);
      const wanted = { model: `slow-${model}`, messages };
      await assert.rejects(app.chat.completions.create(wanted, { signal: impatient.signal }), APIUserAbortError);
    });
  },

  async otherOperations() {
    if (model !== 'openai') return;
    const embedded = await app.embeddings.create({ model, input: ['one', 'two'], dimensions: 8 });
    assert.deepEqual(embedded.data.map((part) => part.embedding.length), [8, 8]);
    const response = await app.responses.stream({ model, input: 'Hello' }).finalResponse();
    assert.equal(response.output_text.split(' ').length, 12);
    const file = await OpenAI.toFile(Buffer.alloc(100_000), 'sound.mp3');
    assert.ok((await app.audio.transcriptions.create({ model: 'whisper-1', file })).text);
    const spoken = await app.audio.speech.create({ model: 'tts-1', voice: 'alloy', input: 'Hello' });
    assert.equal((await spoken.arrayBuffer()).byteLength, 16 * 1024);
  },

  async models() {
    const listed = [];
    for await (const one of app.models.list()) listed.push(one.id);
    assert.ok(listed.includes(model));
    assert.equal((await app.models.retrieve(model)).object, 'model');
  },
});
