import { describe, expect, test } from 'vitest';
import { connectionPolicy, parseService, serviceAddress } from './policy';

describe('parseService', () => {
  test('keeps a path and drops what a service address has no use for', () => {
    expect(serviceAddress(parseService(' https://models.example.org/pema/?x=1#y '))).toBe('https://models.example.org/pema');
    expect(serviceAddress(parseService('http://localhost:8321'))).toBe('http://localhost:8321');
  });

  test.each(['', 'localhost', 'ftp://example.org', 'javascript:alert(1)', 'https://me:secret@example.org'])('refuses %j', (text) => {
    expect(() => parseService(text)).toThrow();
  });
});

describe('connectionPolicy', () => {
  test('names nothing but the own origin without a service', () => {
    expect(connectionPolicy(undefined)).toBe("connect-src 'self'");
  });

  test('names the service and its socket, without the path', () => {
    expect(connectionPolicy(parseService('https://models.example.org/pema'))).toBe(
      "connect-src 'self' https://models.example.org wss://models.example.org",
    );
    expect(connectionPolicy(parseService('http://localhost:8321'))).toBe("connect-src 'self' http://localhost:8321 ws://localhost:8321");
  });

  test('cannot be extended through the address', () => {
    for (const text of ['https://a.example;script-src *', 'https://a.example https://b.example', "https://a.example/'; default-src *"]) {
      let policy = '';
      try {
        policy = connectionPolicy(parseService(text));
      } catch {
        continue;
      }
      expect(policy).toBe("connect-src 'self' https://a.example wss://a.example");
    }
  });
});
